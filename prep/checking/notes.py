"""The notes of prep about images that train other than they look, from a few images of the finished root.

EXIF would turn some. Others are much longer than wide, or too large to be opened.
"""

from collections import Counter
from pathlib import Path

from ..base.errors import FeedlineError
from ..base.manifest import Manifest
from ..base.progress import Notice
from ..base.shell import shell_word
from ..images.orientation import orientation
from ..roots.samples import SampleReader, list_samples
from .extremes import LONG, MOST_PIXELS, extreme_of

EXAMINED = 200  # images of a split; `feedline verify` counts all


def note_images(root: Path, manifest: Manifest, notice: Notice) -> None:
    """Report to ``notice`` what up to 200 images of each labelled split show: turned by EXIF, thin, huge."""
    examined, found = 0, Counter[str | None]()
    try:
        with SampleReader() as reader:
            for split, held in manifest.splits.items():
                samples = list_samples(root, manifest, split) if held.per_class else []
                chosen = samples[:: -(-len(samples) // EXAMINED) or 1]
                examined += len(chosen)
                for data in map(reader.read, chosen):
                    found["turned"] += orientation(data) != 1
                    found[extreme_of(data)] += 1
    except FeedlineError:  # the root is reported elsewhere
        return
    if found["turned"]:
        notice(
            f"EXIF turns {found['turned']} of {examined} images that were examined, and training loaders ignore it; "
            f"to turn them: feedline shard {shell_word(root)} --apply-orientation"
        )
    if found["thin"]:
        notice(
            f"{found['thin']} of {examined} images that were examined are more than {LONG} times as long as wide; "
            "crops are small parts of them, and evaluation sees their centre only; "
            f"to list all: feedline verify {shell_word(root)}"
        )
    if found["huge"]:
        notice(
            f"{found['huge']} of {examined} images that were examined have more than {MOST_PIXELS:,} pixels, and no "
            f"loader opens them; make them smaller, or remove them; to list all: feedline verify {shell_word(root)}"
        )

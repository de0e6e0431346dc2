"""The note of prep about images that EXIF would turn, from a few images of the finished root."""

from pathlib import Path

from ..base.errors import FeedlineError
from ..base.manifest import Manifest
from ..base.progress import Notice
from ..base.shell import shell_word
from ..images.orientation import orientation
from ..roots.samples import SampleReader, list_samples

EXAMINED = 200  # images of a split; `feedline verify` counts all


def note_orientation(root: Path, manifest: Manifest, notice: Notice) -> None:
    """Report to ``notice`` whether EXIF would turn some of up to 200 images of each labelled split."""
    examined = turned = 0
    try:
        with SampleReader() as reader:
            for split, held in manifest.splits.items():
                samples = list_samples(root, manifest, split) if held.per_class else []
                chosen = samples[:: -(-len(samples) // EXAMINED) or 1]
                examined += len(chosen)
                turned += sum(orientation(reader.read(sample)) != 1 for sample in chosen)
    except FeedlineError:  # the root is reported elsewhere
        return
    if turned:
        notice(
            f"EXIF turns {turned} of {examined} images that were examined, and training loaders ignore it; "
            f"to turn them: feedline shard {shell_word(root)} --apply-orientation"
        )

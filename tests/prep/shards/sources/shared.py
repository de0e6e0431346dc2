"""Shards of ImageNet in every layout: what the tests of them share."""

import hashlib
import shutil
from pathlib import Path

from feedline.prep import ShardSpec

from ...layouts import LAYOUTS
from ...trees import Files

SPEC = ShardSpec(seed=3, shard_count=2)


STREAMED = ["hugging_face", "kaggle_tar", "parquet"]  # layouts that are read from front to back


def digests(directory: Path) -> dict[str, str]:
    """Return the sha256 of every file below a directory."""
    found = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def build(layout: str, place: Path, archives: Path, files: Files) -> Path:
    """Write a layout and return the one source that holds it, or the second archive if names tell nothing."""
    place.mkdir()
    sources = LAYOUTS[layout](place, archives, files)
    if layout == "renamed_tars":
        return sources[1]
    for source in sources:
        if not source.is_relative_to(place):
            shutil.copy(source, place)
    return sources[0] if len(sources) == 1 else place

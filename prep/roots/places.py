"""Where the shards of a set lie: in its directory, or where another tool wrote them.

The manifest of a set lists each shard by its path below one folder, which is the set's directory unless the manifest
has a ``place``. The indexes always lie in the set's directory, at the same path: the index of the shard ``a/0.tar`` is
``ROOT/shards/a/0.index``, wherever the shard lies. feedline only reads a folder that ``place`` names.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from ..base.manifest import MANIFEST, SHARDS, Shard, ShardManifest
from ..base.shell import shell_word

# Of two times of one file: FAT stores every other second, and copies between systems lose the fractions.
SAME_TIME = 2 * 10**9  # nanoseconds


def shards_folder(directory: Path, manifest: ShardManifest) -> Path:
    """Return the folder of the shards of the set in ``directory``."""
    return directory if manifest.place is None else Path(os.path.normpath(directory / manifest.place))


def shard_path(directory: Path, manifest: ShardManifest, shard: Shard) -> Path:
    """Return where a shard lies. Its indexes lie next to ``directory / shard.name``."""
    return shards_folder(directory, manifest) / shard.name


def place_of(folder: Path, directory: Path) -> str | None:
    """Return the ``place`` of a manifest in ``directory`` for shards in ``folder``; None for the directory itself.

    It is relative if the shards lie in the root, so that both can be moved together, and absolute otherwise.
    """
    folder, directory = (Path(os.path.normpath(path.absolute())) for path in (folder, directory))
    if folder == directory:
        return None
    if folder.is_relative_to(directory.parent):
        return Path(os.path.relpath(folder, directory)).as_posix()
    return str(folder)


def moved_shards(directory: Path, manifest: ShardManifest) -> str | None:
    """Return which shard of another tool is missing or was changed, with the next command; None if all are as read.

    Sizes and times are compared. Shards that lie in ``directory`` are not compared here: ``verify`` checks them.
    """
    if manifest.place is None:
        return None
    for shard in _shards(manifest):
        path = shard_path(directory, manifest, shard)
        try:
            found = path.stat()
        except OSError as error:
            return (
                f"cannot read {path}, a shard of {directory / MANIFEST}: {error.strerror}; bring it back to its place, "
                f"or move {directory} away and give the new place: {_prepare('SOURCE', directory, manifest)}"
            )
        if found.st_size != shard.bytes:
            return (
                f"{path} has {found.st_size} bytes and had {shard.bytes} when it was prepared; "
                f"to take it as it is now, move {directory} away, which holds no shard, and run: "
                f"{_prepare(shards_folder(directory, manifest), directory, manifest)}"
            )
        if not is_same_time(found.st_mtime_ns, shard):
            return (
                f"{path} was written again after it was prepared; "
                f"compare its content with: feedline shard --index-only {shell_word(directory)}"
            )
    return None


def is_same_time(modified: int, shard: Shard) -> bool:
    """Return whether a time in nanoseconds is the one that the manifest has for a shard, if it has one."""
    return shard.modified is None or abs(modified - shard.modified) <= SAME_TIME


def _shards(manifest: ShardManifest) -> Iterator[Shard]:
    for held in manifest.splits.values():
        yield from held.shards


def _prepare(source: Path | str, directory: Path, manifest: ShardManifest) -> str:
    root = directory.parent if directory.name == SHARDS else "ROOT"
    label = "" if manifest.label_from in (None, "cls") else f" --label-from {manifest.label_from}"
    image = f" --image-extension {manifest.image_extension}" if manifest.image_extension else ""
    return f"feedline prep webdataset {shell_word(source)} --out {shell_word(root)}{label}{image}"

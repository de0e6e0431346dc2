"""The shards that the user names: folders, single tars, brace patterns, and lists that a shell made of a pattern.

All shards of a set are named by their path below one folder, the place. It is the folder that was given, or the common
parent of several. Links are not followed for that: in the cache of the Hugging Face Hub, the names are links.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from ..base.errors import SourceError
from ..base.manifest import MANIFEST, SHARDS
from ..base.names import MAX_DEPTH, is_plain_path
from ..base.origins import without_credentials
from ..base.paths import GivenPath
from ..base.progress import Notice
from ..base.shell import shell_word
from ..shards.found import SHARD, is_root, is_written_by_feedline, paths_below, split_shards
from ..sources.naming import SPLITS
from .braces import expand_braces

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|pipe:")
COMPRESSED = {
    **dict.fromkeys((".tar.gz", ".tgz"), "gunzip --keep"),
    **dict.fromkeys((".tar.bz2", ".tbz2"), "bunzip2 --keep"),
    **dict.fromkeys((".tar.xz", ".txz"), "unxz --keep"),
    ".tar.zst": "zstd --decompress",
}
MAGIC = {b"\x1f\x8b": ".tar.gz", b"BZh": ".tar.bz2", b"\xfd7zXZ\0": ".tar.xz", b"\x28\xb5\x2f\xfd": ".tar.zst"}


@dataclass(frozen=True, kw_only=True)
class ForeignShards:
    """The shards that were found."""

    place: Path
    """The folder below which they lie."""
    splits: dict[str, tuple[str, ...]]
    """{split: paths of its shards below the place, sorted, with forward slashes}."""


def find_foreign(
    sources: Sequence[GivenPath], root: Path, split_from: Mapping[str, str], notice: Notice
) -> ForeignShards:
    """Return the shards of ``sources`` by split; ``root`` is the output, whose own files are passed over.

    What is no shard is counted, and reported to ``notice``. Raises SourceError for a source that is missing or is no
    shard, and for a shard of a pattern that is missing; DatasetError for names that state no split or two.
    """
    files, folders, left_out = dict[Path, None](), list[Path](), Counter[str]()
    for path in [path for source in sources for path in _paths_of(source)]:
        if path.is_dir():
            _refuse_own(path, root)
            folders.append(path)
            files.update(dict.fromkeys(_in_folder(path, root, left_out)))
        elif path.name.lower().endswith(SHARD):
            files[path] = None
        else:
            _refuse_compressed(path)
            left_out[_kind(path.name)] += 1
    if not files:
        raise SourceError(_no_shards(sources, left_out))
    _report(left_out, notice)
    place = _common(folders, files)
    names = sorted(_name(path, place) for path in files)
    shown = " ".join(shell_word(source) for source in sources[:3])
    found = split_shards(names, place, split_from, f"feedline prep webdataset {shown} --out {shell_word(root)}")
    return ForeignShards(place=place, splits={split: found[split] for split in SPLITS if split in found})


def refuse_gzipped(path: Path) -> None:
    """Raise SourceError for a shard that is compressed although its name does not say so."""
    with path.open("rb") as file:
        start = file.read(6)
    for magic, suffix in MAGIC.items():
        if start.startswith(magic):
            name = path.with_name(path.stem + suffix).name
            raise SourceError(
                f"{path} is compressed as a whole, so that no sample in it can be read alone; "
                f"rename it to {name} and decompress it with: {COMPRESSED[suffix]} {shell_word(name)}"
            )


def _paths_of(source: GivenPath) -> list[Path]:
    """Return the files and folders that one source means, as absolute paths."""
    text = os.path.expanduser(os.fspath(source))  # noqa: PTH111 - a quoted "~/shards" is not expanded by the shell
    if ADDRESS.match(text):
        raise SourceError(
            f"{without_credentials(text)} is an address, and feedline reads local files; download the shards first"
        )
    if Path(text).exists():
        return [_absolute(text)]
    names = expand_braces(text)
    if len(names) > 1 and not has_magic(text):
        paths = [_absolute(name) for name in names]
        missing = [path for path in paths if not path.exists()]
        if missing:
            like = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise SourceError(
                f"{missing[0]}{like} of the {len(names)} shards of {source} are missing; bring them, or give a "
                f"pattern of those that are there"
            )
        return paths
    found = sorted(path for name in names for path in (glob(name) if has_magic(name) else []))  # noqa: PTH207
    if not found:
        raise SourceError(
            f"{source} does not exist; give a folder of shards, a shard, or a pattern such as "
            f'"imagenet-{{train,val}}-{{0000..0015}}.tar"'
        )
    return [_absolute(name) for name in found]


def _absolute(name: str) -> Path:
    return Path(os.path.normpath(Path(name).absolute()))


def _in_folder(folder: Path, root: Path, left_out: Counter[str]) -> Iterable[Path]:
    """Return the shards below a folder, and count its other files."""
    own = _absolute(os.fspath(root / SHARDS))
    found: list[Path] = []
    for name in paths_below(folder):
        path = folder / name
        if own != folder and path.is_relative_to(own):
            continue
        if name.lower().endswith(SHARD):
            found.append(path)
        elif own != folder:
            left_out[_kind(path.name)] += 1
    return found


def _refuse_own(folder: Path, root: Path) -> None:
    """Raise SourceError for a folder of feedline: it needs no preparing."""
    if is_root(folder) and not _is_same(folder, root):
        raise SourceError(f"{folder} is a prepared root; write shards of it with: feedline shard {shell_word(folder)}")
    for place in (folder, folder / SHARDS):
        if not _is_same(place, root / SHARDS) and (place / MANIFEST).is_file() and is_written_by_feedline(place):
            give = f"give {place.parent} to the other commands" if place.name == SHARDS else "give the root of them"
            raise SourceError(f"{place} holds shards that feedline wrote, which need no preparing; {give}")


def _is_same(one: Path, other: Path) -> bool:
    return _absolute(os.fspath(one)) == _absolute(os.fspath(other))


def _refuse_compressed(path: Path) -> None:
    suffix = next((suffix for suffix in COMPRESSED if path.name.lower().endswith(suffix)), None)
    if suffix is not None:
        raise SourceError(
            f"{path} is compressed as a whole, so that no sample in it can be read alone; "
            f"decompress it with: {COMPRESSED[suffix]} {shell_word(path)}"
        )


def _kind(name: str) -> str:
    lower = name.lower()
    compressed = next((suffix for suffix in COMPRESSED if lower.endswith(suffix)), None)
    if compressed:
        return compressed
    stem, dot, suffix = lower.rpartition(".")
    return f".{suffix}" if dot and stem else name if dot else "without a suffix"


def _report(left_out: Counter[str], notice: Notice) -> None:
    if left_out:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))
        notice(f"left out: {left_out.total()} files that are no shard: {kinds}")


def _no_shards(sources: Sequence[GivenPath], left_out: Counter[str]) -> str:
    given = " ".join(shell_word(source) for source in sources[:3])
    compressed = next((kind for kind in left_out if kind in COMPRESSED), None)
    if compressed:
        return (
            f"{given} holds no shard (*{SHARD}), but {left_out[compressed]} {compressed}, in which no sample can be "
            f"read alone; decompress each of them with: {COMPRESSED[compressed]} FILE"
        )
    return f"{given} holds no shard (*{SHARD}); give the folder or the pattern of a WebDataset"


def _common(folders: Sequence[Path], files: Iterable[Path]) -> Path:
    """Return the folder that holds all shards."""
    parents = {*folders, *(path.parent for path in files if not any(map(path.is_relative_to, folders)))}
    try:
        return Path(os.path.commonpath(parents))
    except ValueError as error:  # two drives of Windows
        raise SourceError("the shards lie on several drives; prepare each drive's for a root of its own") from error


def _name(path: Path, place: Path) -> str:
    name = path.relative_to(place).as_posix()
    if not is_plain_path(name):
        raise SourceError(
            f"{path} is called {name!r} below {place}, the folder of all shards, which has more than {MAX_DEPTH - 1} "
            f"folders or a name that not every system can hold; give shards of one folder"
        )
    return name

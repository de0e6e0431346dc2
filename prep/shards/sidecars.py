"""The indexes next to the shards: feedline's own, and those with which other readers need not scan a tar first.

    <shard>.index          feedline: offsets, labels, sizes and tiles; see ``shard_index``
    <shard>.jsonl          feedline: the columns of the samples, if they have any; see ``columns``
    <shard>.idx            NVIDIA DALI, readers.webdataset(index_paths=...): format v1.2 of its wds2idx
    _info.json             timm, create_dataset("wds/...", root=DIR, split="train"): shards and counts
    <dataset>-<split>.json wids, ShardListDataset(FILE): format wids-shard-index-v1

All of them are functions of the shards and the manifest, so that "stale" means "differs from what would be written
now". wids takes an md5 sum; it is left out, because wids would then read every shard in full when it opens
it, and the manifest has the sha256.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.documents import write_atomically
from ..base.errors import DatasetError
from ..base.manifest import ShardManifest, ShardSplit
from ..base.names import is_plain_path
from ..base.origins import hold, origin_of
from ..base.progress import Notice, quiet
from ..images.geometry import Geometry
from .columns import START as LINE_START, SUFFIX as LINES, column_line, columns_path
from .index import SUFFIX, IndexBuilder, index_path

DALI = ".idx"
TIMM = "_info.json"
OURS = (SUFFIX, LINES)  # what no other tool reads, so that a file of another tool in their place is an error
NUMPY = b"\x93NUMPY"
JSON_HEADS = (b'{\n "splits": {', b'{\n "__kind__": "wids-shard-index-v1"')
TIMM_SPLITS = {"val": "validation"}  # the names that timm's own scripts use


@dataclass(frozen=True, slots=True)
class File:
    """One member of a sample, as it stands in the tar."""

    name: str
    offset: int
    """Of its data, in bytes from the start of the shard."""
    size: int


class Sidecars:
    """Collects what the indexes of one shard say, sample by sample."""

    def __init__(self, *, columns: bool = False) -> None:
        """``columns``: write a file of columns even if no sample of this shard has a value."""
        self._index = IndexBuilder()
        self._dali: list[str] = []
        self._lines: list[bytes] = []
        self._has_columns = columns

    def add(
        self,
        key: str,
        label: int,
        image: File,
        files: Sequence[File],
        pixels: tuple[int, int],
        tiles: Geometry | None,
        columns: Mapping[str, Any] | None = None,
        *,
        first_pixel: int = 0,
    ) -> None:
        """Add the next sample; ``image`` is one of its ``files``, ``pixels`` its width and height.

        ``first_pixel`` is where the pixels of a raw image begin in its data, else 0.

        The shard gets a file of columns if any of its samples has ``columns``. They are None for all samples of a shard
        whose columns are not read.
        """
        self._index.add(key, image.offset, image.size, label, pixels, tiles, first_pixel)
        self._dali.append(" ".join(f"{split_key(f.name)[1]} {f.offset} {f.size} {f.name}" for f in files))
        if columns is not None:
            self._lines.append(column_line(key, columns))
            self._has_columns |= bool(columns)

    def contents(self, shard: Path) -> dict[Path, bytes]:
        """Return what stands in each of the shard's indexes; ``shard`` is its path in the directory of the set."""
        lines = [f"v1.2 {len(self._dali)}", *self._dali]
        dali = ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
        contents = {index_path(shard): self._index.to_bytes(), dali_path(shard): dali}
        return {**contents, columns_path(shard): b"".join(self._lines)} if self._has_columns else contents


def dali_path(shard: Path) -> Path:
    """Return where DALI's index of a shard lies."""
    return shard.with_suffix(DALI)


def split_key(name: str) -> tuple[str, str]:
    """Return (key, extension): cut at the first dot of the base name, as webdataset, DALI and wids do."""
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return folder + slash + stem, extension


def set_indexes(directory: Path, manifest: ShardManifest) -> dict[Path, bytes]:
    """Return what stands in the indexes of the whole set: timm's, and one per split for wids.

    Both find the shards next to themselves. So there are none for shards that lie elsewhere.
    """
    if manifest.place is not None:
        return {}
    timm = {TIMM_SPLITS.get(split, split): _timm_split(split, held) for split, held in manifest.splits.items()}
    contents = {directory / TIMM: _json({"splits": timm})}
    for split, held in manifest.splits.items():
        name = f"{manifest.dataset}-{split}"
        contents[directory / f"{name}.json"] = _json(_wids_index(name, held))
    return contents


def write_all(contents: dict[Path, bytes], notice: Notice = quiet) -> None:
    """Write each index that differs under a temporary name, flush it to the disk, and rename it.

    A file that feedline did not write is never replaced. It is reported to ``notice``; in place of feedline's own
    index it raises DatasetError.
    """
    for path in stale(contents):  # Windows does not replace a file that somebody has mapped: a training run, say
        if not is_foreign(path):
            write_atomically(path, contents[path])
        elif path.suffix in OURS:
            raise DatasetError(
                f"{path} was not written by feedline, and feedline's {_purpose(path)} must lie there; "
                f"move it to another folder and run again"
            )
        else:
            notice(f"left as it is: {path}, which feedline did not write; to get feedline's, move it and run again")


def _purpose(path: Path) -> str:
    return "index" if path.suffix == SUFFIX else "file of columns"


def stale(contents: dict[Path, bytes]) -> list[Path]:
    """Return the indexes that are missing or hold something else."""
    return [path for path, data in contents.items() if not _holds(path, data)]


def is_foreign(path: Path) -> bool:
    """Return whether the file in the place of an index was written by another program, or edited by the user.

    feedline's own files are recognised by their form. A JSON file has exactly the keys that feedline writes, in its
    layout, and names shards by local paths; a damaged one has its first bytes. A file of zeros is a lost write.
    """
    if not path.is_file():
        return path.exists()
    data = path.read_bytes()
    if not data.strip(b"\0") or data.startswith(NUMPY):  # an index that was copied to a wrong name, for example
        return False
    if path.suffix == DALI:
        return not data.startswith(b"v1.2 ")
    if path.suffix == SUFFIX:
        return True
    if path.suffix == LINES:
        return not data.startswith(LINE_START)
    try:
        value = json.loads(data)
    except ValueError:
        return not data.startswith(JSON_HEADS)
    return not (_has_own_form(value) and _json(value).strip() == data.strip())


def _has_own_form(value: Any) -> bool:
    """Return whether a document has the keys of timm's or wids' index as feedline writes them, and local names."""
    try:
        if tuple(value) == ("splits",):
            held, keys = list(value["splits"].values()), ("name", "num_samples", "filenames", "shard_lengths")
            names = [name for split in held for name in split["filenames"]]
        else:
            held, keys = value["shardlist"], ("url", "nsamples", "filesize")
            names = [shard["url"] for shard in held]
            if tuple(value) != ("__kind__", "wids_version", "name", "shardlist"):
                return False
        return all(tuple(entry) == keys for entry in held) and all(map(is_plain_path, names))
    except (AttributeError, KeyError, TypeError):
        return False


def _holds(path: Path, data: bytes) -> bool:
    """Return whether a file has these bytes. If a copy that was here before has others, the store's are compared."""
    origin, was_here = origin_of(path), path.is_file()
    if _has(path, data):
        return True
    return origin is not None and was_here and origin.renew(path) and _has(path, data)


def _has(path: Path, data: bytes) -> bool:
    with suppress(FileNotFoundError):
        hold(path)
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def _timm_split(split: str, held: ShardSplit) -> dict[str, Any]:
    return {
        "name": TIMM_SPLITS.get(split, split),
        "num_samples": held.samples,
        "filenames": [shard.name for shard in held.shards],
        "shard_lengths": [shard.samples for shard in held.shards],
    }


def _wids_index(name: str, held: ShardSplit) -> dict[str, Any]:
    shards = [{"url": shard.name, "nsamples": shard.samples, "filesize": shard.bytes} for shard in held.shards]
    return {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": name, "shardlist": shards}


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()

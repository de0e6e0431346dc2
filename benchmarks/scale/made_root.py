"""A root of shards with real indexes and a real manifest, whose shards are holes: no image is written."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...prep import MANIFEST, SHARDS, ClassEntry, ShardManifest, write_document
from ...prep.base.manifest import Shard, ShardSplit
from ...prep.shards.index import ShardIndex, index_path, sample_dtype

SPACING, KEY = 2048, 9  # bytes from one image to the next, and of a key


def make_root(root: Path, *, samples: int, shards: int, classes: int) -> Path:
    """Write a root of ``samples`` samples without tiles, "shuffled" with seed 0; return ``root``.

    The sample at place p has p as its key, class index p modulo ``classes``, and 1000 + p modulo 7 bytes.
    """
    directory = root / SHARDS
    directory.mkdir(parents=True)
    ends = [samples * number // shards for number in range(shards + 1)]
    entries = [
        _write_shard(directory / f"made-train-{number:06}.tar", range(ends[number], ends[number + 1]), classes)
        for number in range(shards)
    ]
    manifest = ShardManifest(
        dataset="made",
        encode="copy",
        order="shuffled",
        seed=0,
        classes=tuple(ClassEntry(id=f"{number:04}", name="class") for number in range(classes)),
        splits={"train": ShardSplit(samples=samples, shards=tuple(entries))},
    )
    write_document(directory / MANIFEST, manifest)
    return root


def _write_shard(path: Path, places: range, classes: int) -> Shard:
    numbers = np.arange(places.start, places.stop)
    rows = np.zeros(len(places), sample_dtype(KEY))
    rows["key"] = _keys(numbers)
    rows["offset"] = SPACING * (numbers - places.start) + 512
    rows["size"] = 1000 + numbers % 7
    rows["label"] = numbers % classes
    rows["width"] = rows["height"] = 256
    index_path(path).write_bytes(ShardIndex(rows, np.empty(0, np.uint16)).to_bytes())
    size = SPACING * (len(places) + 1)
    with path.open("wb") as file:
        file.truncate(size)
    return Shard(name=path.name, samples=len(places), bytes=size, sha256="0" * 64)


def _keys(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.bytes_]:
    digits = numbers[:, None] // 10 ** np.arange(KEY - 1, -1, -1) % 10 + ord("0")
    return digits.astype(np.uint8).view(f"S{KEY}")[:, 0]

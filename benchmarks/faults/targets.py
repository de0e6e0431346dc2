"""The commands that are disturbed, on data that take a second, and what must come out of each.

``prep`` and ``shard`` must write the same bytes, ``train`` the same weights, ``bench`` a complete record of each run.
"""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ...prep import (
    MANIFEST,
    MeasurementError,
    ShardSpec,
    SyntheticSpec,
    prepare_imagenet,
    write_shards,
    write_synthetic,
)
from ..measuring.record import read_records

CLASSES, IMAGES_PER_CLASS, SCALE = 4, 12, 0.12
BENCH_LOADERS, BENCH_REPEATS = ("threaded", "imagefolder"), 1
IN_FOLDERS, IN_SHARDS = ("train/*/*", "val/*/*"), ("shards/*",)
TRAINED = {"imagefolder": IN_FOLDERS, "threaded": IN_SHARDS, "webdataset": IN_SHARDS}
"""The patterns of the files that a training with the loader reads."""

Digest = dict[str, str]
"""What came out, by name: the checksum of each file, of the weights, or of nothing but a record's presence."""


@dataclass(frozen=True)
class Target:
    """One command: its words for inputs and an output, and what came out."""

    name: str
    words: Callable[[Path, Path], tuple[str, ...]]
    result: Callable[[Path], Digest]
    source: str
    """The folder of the data that it reads."""
    reads: tuple[str, ...]
    """Patterns of the files there that it reads, one of which a fault changes."""


def make_data(folder: Path) -> None:
    """Write the archives, and a prepared root with shards."""
    spec = SyntheticSpec(layout="ilsvrc2012", classes=CLASSES, images_per_class=IMAGES_PER_CLASS, scale=SCALE)
    write_synthetic(folder / "archives", spec)
    prepare_imagenet([folder / "archives"], folder / "root")
    shutil.copytree(folder / "root", folder / "folders")
    write_shards(folder / "root", ShardSpec(seed=3, shard_count=3))


def targets() -> dict[str, Target]:
    """Return every command by name; ``train`` once for each kind of loader."""
    found = [
        Target("prep", _prep_words, _files, "archives", ("*",)),
        Target("shard", _shard_words, _files_and_samples, "folders", IN_FOLDERS),
        Target("bench", _bench_words, _records, "root", (*IN_SHARDS, *IN_FOLDERS)),
        *(Target(f"train {name}", _train_words(name), _weights, "root", reads) for name, reads in TRAINED.items()),
    ]
    return {target.name: target for target in found}


def _prep_words(data: Path, out: Path) -> tuple[str, ...]:
    archives = sorted(str(path) for path in data.iterdir())  # by name: one that vanishes from a folder is not missed
    return ("prep", "imagenet", *archives, "--out", str(out), "--checksum", "md5", "--workers", "2")


def _shard_words(data: Path, out: Path) -> tuple[str, ...]:
    return ("shard", str(data), "--out", str(out), "--shard-count", "4", "--seed", "3", "--workers", "2")


def _bench_words(data: Path, out: Path) -> tuple[str, ...]:
    loaders = [word for name in BENCH_LOADERS for word in ("--loader", name)]
    options = ("--workers", "1", "--seconds", "0.2", "--image-size", "32", "--repeats", str(BENCH_REPEATS))
    return ("bench", str(data), *loaders, *options, "--out", str(out))


def _train_words(loader: str) -> Callable[[Path, Path], tuple[str, ...]]:
    # The model is small, because each of the two checkpoints of a ResNet-18 has 90 MB.
    model = ("--model", "squeezenet1_1", "--stem", "imagenet")
    options = (*model, "--workers", "1", "--epochs", "2", "--batch-size", "12", "--image-size", "32")

    def words(data: Path, out: Path) -> tuple[str, ...]:
        return ("train", str(data), "--loader", loader, *options, "--device", "cpu", "--out", str(out))

    return words


def _files(out: Path) -> Digest:
    """Return the checksum of every file. Of a manifest, the names and sizes of the archives do not count.

    An archive may have another name, or lack its padding, and hold the same images.
    """
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): hashlib.sha256(_content(path)).hexdigest() for path in files}


def _files_and_samples(out: Path) -> Digest:
    """Return the checksum of every file, and of every member of a shard by its name alone."""
    members: Digest = {}
    for path in out.rglob("*.tar"):
        with tarfile.open(path) as shard:
            for member in shard:
                if (file := shard.extractfile(member)) is not None:
                    members[member.name] = hashlib.sha256(file.read()).hexdigest()
    return {**_files(out), **members}


def _content(path: Path) -> bytes:
    if path.name != MANIFEST:
        return path.read_bytes()
    return json.dumps({**json.loads(path.read_bytes()), "sources": None}).encode()


def _weights(out: Path) -> Digest:
    content = torch.load(out / "checkpoints" / "last.pt", map_location="cpu", weights_only=True)
    return {name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for name, tensor in content["model"].items()}


def _records(out: Path) -> Digest:
    """Return each run whose record is complete; a bench that was run again has some of them twice."""
    try:
        found = read_records([out])
    except MeasurementError:
        return {}
    return {f"{one.loader} {one.repeat}": "complete" for one in found if one.measurement.images_per_second > 0}

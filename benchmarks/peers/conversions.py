"""The input of the peers: the class folders, or the peer's own format, converted once from them.

A conversion runs in the peer's own environment and is not part of any measured time. Its seconds and its size are
recorded in its folder. The folder gets its name only when it is complete, and the name holds the manifest's checksum,
so that a conversion of other images is never read.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

from ...prep import MANIFEST, FeedlineError, MeasurementError, find_samples, read_document, write_document
from ...prep.base.shell import shell_word
from ...prep.images.opening import foreign_format
from ...prep.processes.parent import end_with
from ...prep.roots.samples import Sample
from ..measuring.dataset import describe
from ..measuring.process import ONE_THREAD
from ..measuring.trees import end_tree
from .adapters.epochs import PeerModule
from .environments import python_of
from .table import PEERS

NOTE = "conversion.json"
HEAD = 1024  # bytes that say what a file is
OPTIONS = ("-P", "-X", "utf8", "-m", "feedline.benchmarks.peers.conversions")


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """The cost of a conversion."""

    peer: str
    seconds: float
    bytes: int


def place_of(name: str, root: Path, split: str, work: Path) -> Path:
    """Return the folder for a peer's converted form of a split, whether it exists or not."""
    return work.resolve() / f"{name}-{split}-{describe(root, split).manifest_sha256[:12]}"


def conversion_at(place: Path) -> Conversion | None:
    """Return the cost of the conversion at ``place``; None if it is not finished."""
    return read_document(place / NOTE, Conversion) if (place / NOTE).is_file() else None


def ensure_converted(name: str, root: Path, split: str, work: Path, envs: Path) -> None:
    """Convert a split for a peer, unless that is done or the peer reads the class folders. Raises MeasurementError."""
    place = place_of(name, root, split, work)
    if not PEERS[name].converts or conversion_at(place):
        return
    command = [str(python_of(name, envs)), *OPTIONS, name, str(root.resolve()), split, str(place)]
    environment = {**os.environ, **ONE_THREAD}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment) as process:
        try:
            stderr = process.communicate()[1]
        finally:
            end_tree(process.pid)
    if process.returncode != 0:
        words = stderr.decode("utf-8", "replace").strip().splitlines() or ["it printed nothing"]
        raise MeasurementError(f"{name} cannot convert {root}: {words[-1].strip()}")


def files_of(name: str, root: Path, split: str, work: Path) -> list[Path]:
    """Return the files that a peer reads."""
    if PEERS[name].converts:
        return [path for path in place_of(name, root, split, work).rglob("*") if path.is_file()]
    return [sample.path for sample in images_of(root, split)]


def images_of(root: Path, split: str) -> Sequence[Sample]:
    """Return the split's images by sample index. Raises MeasurementError if there are no class folders."""
    if not (root / MANIFEST).is_file():
        raise MeasurementError(
            f"{root} has no image files, which peers read or convert; make them with: "
            f"feedline prep imagefolder FOLDER --out {shell_word(root)}, or "
            f"feedline prep imagenet ARCHIVES --out {shell_word(root)}"
        )
    return find_samples(root, [split]).splits[split]


def peer_module(name: str) -> PeerModule:
    """Import a peer's module, in its own environment."""
    module = (PEERS[name].variant_of or name).replace("-", "_")
    return cast(PeerModule, import_module(f".adapters.{module}_peer", __package__))


def _convert(name: str, root: Path, split: str, place: Path) -> None:
    samples = images_of(root, split)
    _require_images(root, samples)
    partial = place.with_name(place.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    module = peer_module(name)
    began = time.perf_counter()
    module.convert(samples, partial, **PEERS[name].options)
    seconds = time.perf_counter() - began
    size = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
    write_document(partial / NOTE, Conversion(peer=name, seconds=seconds, bytes=size))
    partial.replace(place)


def _require_images(root: Path, samples: Sequence[Sample]) -> None:
    """Raise MeasurementError for a file of a foreign format: the peers' libraries open every format of Pillow's."""
    for sample in samples:
        with sample.path.open("rb") as file:
            found = foreign_format(file.read(HEAD))
        if found:
            raise MeasurementError(f"{sample} is {found}; check the data with: feedline verify {shell_word(root)}")


if __name__ == "__main__":
    end_with(os.getppid())
    try:
        _convert(sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
    except FeedlineError as error:
        sys.exit(str(error))

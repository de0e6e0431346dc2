"""The peers of a bench: which are installed, their worker counts, and how a peer is run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...prep import MeasurementError
from ...prep.images.opening import UNREADABLE, open_image
from ...prep.roots.samples import Sample
from ..measuring.process import MeasuringJob, MeasuringRun, run_in_fresh_process
from .conversions import Conversion, conversion_at, ensure_converted, files_of, images_of, place_of
from .environments import python_of, receipt_of
from .table import PEERS

SPLIT = "train"
"""The split that peers are measured on, because their documented training input is compared."""
SMALL = 128
"""Pixels of the longer side up to which images count as small; peers that store pixels do not store larger ones."""
LOOKED_AT = 64  # images of a data set whose sizes are read
CHILD = ("-P", "-X", "utf8", "-m", "feedline.benchmarks.peers.child")


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Peers by name, with the folders of their environments and of their converted data."""

    names: tuple[str, ...]
    envs: Path
    work: Path

    def run(self, job: MeasuringJob, timeout: float) -> MeasuringRun:
        """Measure a peer in its own environment, or another loader in this one. Raises MeasurementError."""
        if job.loader not in self.names:
            return run_in_fresh_process(job, timeout)
        command = (str(python_of(job.loader, self.envs)), *CHILD, str(self.work))
        return run_in_fresh_process(job, timeout, command)

    def conversion(self, name: str, root: Path) -> Conversion | None:
        """Return the cost of converting ``root`` for a peer; None if it reads the class folders, or has failed."""
        return conversion_at(place_of(name, root, SPLIT, self.work))

    def files(self, name: str, root: Path) -> list[Path]:
        """Return the files that a peer reads of ``root``, after converting it if necessary. Raises MeasurementError."""
        ensure_converted(name, root, SPLIT, self.work, self.envs)
        return files_of(name, root, SPLIT, self.work)

    def worker_counts(self, name: str, workers: Sequence[int]) -> tuple[int, ...]:
        """Return those of ``workers`` that a peer supports."""
        return tuple(count for count in workers if count >= PEERS[name].least_workers)

    def versions(self) -> dict[str, str]:
        """Return the pinned versions of the peers' own libraries, by distribution."""
        pins = (requirement.split("==") for name in self.names for requirement in PEERS[name].requirements)
        return {pin[0]: pin[1] for pin in pins if len(pin) == 2}


def find_peers(envs: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the peers that are installed in ``envs``, and of those that are missing."""
    installed = tuple(name for name in PEERS if receipt_of(name, envs))
    return installed, tuple(name for name in PEERS if name not in installed)


def suited(names: Sequence[str], root: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return those of ``names`` that can be measured on ``root``, and those whose pixels would be too many.

    Raises MeasurementError if the root has no images that peers can read.
    """
    kept = tuple(name for name in names if not PEERS[name].stores_pixels)
    if len(kept) < len(names):
        images = images_of(root, SPLIT)
        if all(_side(image) <= SMALL for image in images[:: max(1, len(images) // LOOKED_AT)]):
            kept = tuple(names)
    return kept, tuple(name for name in names if name not in kept)


def _side(image: Sample) -> int:
    try:
        return max(open_image(image.path.read_bytes()).size)
    except UNREADABLE as error:
        raise MeasurementError(f"{image} cannot be read: {error}; check the data with: feedline verify ROOT") from error

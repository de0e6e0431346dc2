"""The peers that take part in a bench: which are installed, with how many workers, and how a run of one is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..measuring.process import MeasuringJob, MeasuringRun, run_in_fresh_process
from .conversions import Conversion, conversion_at, ensure_converted, files_of, place_of
from .environments import python_of, receipt_of
from .table import PEERS

SPLIT = "train"
"""The one that peers are measured on: their recipes for training are what is compared."""
CHILD = ("-P", "-X", "utf8", "-m", "feedline.benchmarks.peers.child")


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Peers by name, and where their environments and their converted data lie."""

    names: tuple[str, ...]
    envs: Path
    work: Path

    def run(self, job: MeasuringJob, timeout: float) -> MeasuringRun:
        """Measure a peer in its own environment, any other loader in this one. Raises MeasurementError."""
        if job.loader not in self.names:
            return run_in_fresh_process(job, timeout)
        command = (str(python_of(job.loader, self.envs)), *CHILD, str(self.work))
        return run_in_fresh_process(job, timeout, command)

    def conversion(self, name: str, root: Path) -> Conversion | None:
        """Return what converting ``root`` for a peer cost; None where it reads the class folders, or has failed."""
        return conversion_at(place_of(name, root, SPLIT, self.work))

    def files(self, name: str, root: Path) -> list[Path]:
        """Return what a peer reads of ``root``, after converting it where that is due. Raises MeasurementError."""
        ensure_converted(name, root, SPLIT, self.work, self.envs)
        return files_of(name, root, SPLIT, self.work)

    def worker_counts(self, name: str, workers: Sequence[int]) -> tuple[int, ...]:
        """Return those of ``workers`` that a peer can be asked for."""
        return tuple(count for count in workers if count >= PEERS[name].least_workers)

    def versions(self) -> dict[str, str]:
        """Return the pinned versions of the peers' own libraries, by distribution."""
        pins = (requirement.split("==") for name in self.names for requirement in PEERS[name].requirements)
        return {pin[0]: pin[1] for pin in pins if len(pin) == 2}


def find_peers(envs: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the peers that are installed in ``envs``, and of those that are missing."""
    installed = tuple(name for name in PEERS if receipt_of(name, envs))
    return installed, tuple(name for name in PEERS if name not in installed)

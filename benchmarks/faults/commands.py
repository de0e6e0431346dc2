"""One fault in one command: the disturbed run, the advised commands after it, and the comparison."""

import os
import random
import shutil
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from ...prep import FeedlineError, MeasurementError
from ..measuring.process import ONE_THREAD
from .advice import Way, advised
from .disks import mounted
from .injections import make_fault
from .judging import TERMINATED, Disturbance, judge_command, last_line
from .kinds import DISK_KINDS, FILE_KINDS, Fault, Kind, Place
from .record import Outcome
from .sessions import PROGRAM, Finished, run_command, shared_memory
from .targets import Digest, Target

MOST_COMMANDS = 5
"""Most commands that are run after a fault, before the advice counts as wrong."""
IN_STARTUP = 0.2
"""Share of the faults that come before the first output: most of a short command is the import of libraries."""


@dataclass(frozen=True)
class Undisturbed:
    """What a command takes and makes if nothing happens."""

    seconds: float
    startup: float
    """Seconds to the first output."""
    bytes: int
    result: Digest

    def moment(self, rng: random.Random) -> tuple[float, str | None]:
        """Return when a fault comes: seconds after the start, or after the marker."""
        if rng.random() < IN_STARTUP:
            return rng.random() * self.startup, None
        return rng.random() * (self.seconds - self.startup), ""


@dataclass(frozen=True)
class Workshop:
    """The folders of a campaign."""

    folder: Path
    limit: float
    """Seconds from which a command hangs."""

    @property
    def data(self) -> Path:
        """The archives and the root that every command reads."""
        return self.folder / "data"

    def run(
        self,
        words: Sequence[str],
        temporary: Path,
        fault: Fault | None = None,
        moment: float = 0.0,
        marker: str | None = None,
    ) -> Finished:
        """Run ``feedline`` with these words, its temporary files in ``temporary``."""
        temporary.mkdir(parents=True, exist_ok=True)
        fault = fault or Fault("")
        environment = {**os.environ, **ONE_THREAD, "TMPDIR": str(temporary), "NO_COLOR": "1", **fault.environment}
        return run_command(
            [*PROGRAM, *words],
            environment,
            self.folder / "output.log",
            self.limit,
            moment=moment,
            marker=marker,
            disturb=fault.disturb,
            limits=fault.limits,
        )


def undisturbed(shop: Workshop, target: Target) -> Undisturbed:
    """Return the time and the result of the command; raise MeasurementError if it fails by itself."""
    with made(shop.folder / "undisturbed") as folder:
        out = folder / "out"
        done = shop.run(target.words(shop.data / target.source, out), folder / "tmp", marker="")
        if done.code != 0:
            reason = last_line(done.output) if done.code is not None else f"it took more than {shop.limit:g} s"
            raise MeasurementError(f"{target.name} fails without a fault: {reason}; repair that first")
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        return Undisturbed(done.seconds, done.first_output or 0.0, size, target.result(out))


def disturb_command(shop: Workshop, target: Target, kind: Kind, rng: random.Random, normal: Undisturbed) -> Outcome:
    """Inject one fault, follow the advice until the command succeeds, and compare the result."""
    with made(shop.folder / "disturbed") as folder, _disk(folder, kind) as disk:
        data = shop.data / target.source
        if kind in FILE_KINDS:
            # A copy with the same name, because shards and manifests may name their source.
            data = Path(shutil.copytree(data, folder / "copy" / target.source))
        place = Place(
            data=data, reads=target.reads, out=(disk or folder) / "out", disk=disk, expected_bytes=normal.bytes
        )
        return _disturbed(shop, target, kind, rng, normal, place)


def _disk(folder: Path, kind: Kind) -> AbstractContextManager[Path | None]:
    return mounted(folder / "disk") if kind in DISK_KINDS else nullcontext()


def _disturbed(
    shop: Workshop, target: Target, kind: Kind, rng: random.Random, normal: Undisturbed, place: Place
) -> Outcome:
    fault, (moment, marker) = make_fault(kind, place, rng), normal.moment(rng)
    temporary, shared = place.out.parent / "tmp", shared_memory()
    words = target.words(place.data, place.out)
    try:
        first = shop.run(words, temporary, fault, moment, marker)
        felt, killed = fault.felt(first), fault.killed()
    finally:
        fault.repair()
    finished = first.code == TERMINATED and _result_of(target, words) == normal.result
    runs, words, ways = _follow(shop, words, temporary, first)
    result = _result_of(target, words) if runs[-1].code == 0 else {}
    did = Disturbance(
        target.name,
        kind,
        fault.detail,
        moment,
        felt=felt,
        killed=killed,
        finished=finished,
        shared_memory_left=len(shared_memory() - shared),
        files_left=sum(path.is_file() for path in temporary.rglob("*")),
    )
    outcome = judge_command(did, runs, ways, normal.result, result)
    return replace(outcome, said=outcome.said.replace(str(shop.folder), "WORK"))


def _follow(
    shop: Workshop, words: tuple[str, ...], temporary: Path, first: Finished
) -> tuple[list[Finished], tuple[str, ...], tuple[Way, ...]]:
    """Run what the output advises until it succeeds; return all runs, the words of the last, and the ways."""
    runs, ways = [first], list[Way]()
    while runs[-1].code != 0 and len(ways) < MOST_COMMANDS:
        repeated = len(runs) > 1 and ways[-1] in ("same command", "nothing said")
        advice = advised(runs[-1].output, words, len(runs), repeated=repeated)
        words = advice.words
        ways.append(advice.way)
        runs.append(shop.run(words, temporary))
    return runs, words, tuple(ways)


def _result_of(target: Target, words: Sequence[str]) -> Digest:
    """Return what the last command made; nothing if a file of it is missing or cannot be read."""
    try:
        return target.result(_out_of(words))
    except (OSError, FeedlineError):
        return {}


def _out_of(words: Sequence[str]) -> Path:
    if "--out" in words:
        return Path(words[words.index("--out") + 1])
    return Path(words[words.index("--resume") + 1]).parent.parent


@contextmanager
def made(path: Path) -> Generator[Path, None, None]:
    """Yield a new, empty folder, which is removed after the block."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)

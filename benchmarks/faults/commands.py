"""One fault in one command: the disturbed run, the advised commands after it, and the comparison."""

import os
import random
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...prep import FeedlineError, MeasurementError
from ..measuring.process import ONE_THREAD
from .advice import Way, advised
from .disks import Disk
from .injections import make_fault
from .kinds import DISK_KINDS, FILE_KINDS, Fault, Kind, Place
from .record import Outcome
from .sessions import PROGRAM, Finished, run_command, shared_memory
from .targets import Digest, Target

MOST_COMMANDS = 5
"""Most commands that are run after a fault, before the advice counts as wrong."""
IMAGES = (".jpeg", ".jpg", ".png")


@dataclass(frozen=True)
class Undisturbed:
    """What a command takes and makes if nothing happens."""

    seconds: float
    bytes: int
    result: Digest


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

    def run(self, words: Sequence[str], temporary: Path, fault: Fault | None = None, moment: float = 0.0) -> Finished:
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
            disturb=fault.disturb,
            limits=fault.limits,
        )


def undisturbed(shop: Workshop, target: Target) -> Undisturbed:
    """Return the time and the result of the command; raise MeasurementError if it fails by itself."""
    with made(shop.folder / "undisturbed") as folder:
        out = folder / "out"
        done = shop.run(target.words(shop.data / target.source, out), folder / "tmp")
        if done.code != 0:
            reason = last_line(done.output) if done.code is not None else f"it took more than {shop.limit:g} s"
            raise MeasurementError(f"{target.name} fails without a fault: {reason}; repair that first")
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        return Undisturbed(done.seconds, size, target.result(out))


def disturb_command(shop: Workshop, target: Target, kind: Kind, rng: random.Random, normal: Undisturbed) -> Outcome:
    """Inject one fault, follow the advice until the command succeeds, and compare the result."""
    with made(shop.folder / "disturbed") as folder:
        disk = Disk(folder / "disk") if kind in DISK_KINDS else None
        try:
            place = _place(shop, target, kind, folder, disk, normal)
            return _disturbed(shop, target, kind, rng, normal, place)
        finally:
            if disk is not None:
                disk.close()


def _place(shop: Workshop, target: Target, kind: Kind, folder: Path, disk: Disk | None, normal: Undisturbed) -> Place:
    data = shop.data / target.source
    if kind in FILE_KINDS:
        # A copy with the same name, because shards and manifests may name their source.
        data = Path(shutil.copytree(data, folder / "copy" / target.source))
    out = (folder if disk is None else disk.folder) / "out"
    return Place(data=data, reads=target.reads, out=out, disk=disk, expected_bytes=normal.bytes)


def _disturbed(
    shop: Workshop, target: Target, kind: Kind, rng: random.Random, normal: Undisturbed, place: Place
) -> Outcome:
    fault, moment = make_fault(kind, place, rng), rng.random() * normal.seconds
    temporary, shared = place.out.parent / "tmp", shared_memory()
    words = target.words(place.data, place.out)
    first = shop.run(words, temporary, fault, moment)
    fault.repair()
    last, words, ways, runs = _follow(shop, words, temporary, first)
    result = _result_of(target, words) if last.code == 0 else {}
    missing = normal.result.keys() - result.keys() if last.code == 0 else set[str]()
    return Outcome(
        target=target.name,
        kind=kind,
        detail=fault.detail,
        moment=round(moment, 2),
        code=first.code,
        said=last_line((first if last.code == 0 else last).output).replace(str(shop.folder), "WORK"),
        ways=ways,
        survived=last.code == 0,
        lost=sum(Path(name).suffix.lower() in IMAGES for name in missing),
        wrong=last.code == 0 and result != normal.result,
        hung=any(run.code is None for run in runs),
        crashed=any(_crashed(run, may_kill=kind == "kill" and run is first) for run in runs),
        processes_left=sum(run.processes_left for run in runs),
        shared_memory_left=len(shared_memory() - shared),
        files_left=sum(path.is_file() for path in temporary.rglob("*")),
    )


def _follow(
    shop: Workshop, words: tuple[str, ...], temporary: Path, first: Finished
) -> tuple[Finished, tuple[str, ...], tuple[Way, ...], list[Finished]]:
    """Run what the output advises until it succeeds; return the last run, its words, the ways and all runs."""
    runs, ways = [first], list[Way]()
    while runs[-1].code != 0 and len(ways) < MOST_COMMANDS:
        repeated = len(runs) > 1 and ways[-1] in ("same command", "nothing said")
        advice = advised(runs[-1].output, words, len(runs), repeated=repeated)
        words = advice.words
        ways.append(advice.way)
        runs.append(shop.run(words, temporary))
    return runs[-1], words, tuple(ways), runs


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


def _crashed(run: Finished, may_kill: bool) -> bool:
    by_signal = run.code is not None and run.code < 0 and not (may_kill or run.code in (-9, -15))
    return by_signal or "feedline has a bug" in run.output or "Traceback (most recent call last)" in run.output


def last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else ""


@contextmanager
def made(path: Path) -> Generator[Path, None, None]:
    """Yield a new, empty folder, which is removed after the block."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)

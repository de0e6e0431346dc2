"""What came out after a fault: a comparison with the undisturbed run, from the ends of all commands and the results."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from .advice import Way
from .kinds import HARMLESS, Kind
from .record import Outcome
from .sessions import Finished
from .targets import Digest

IMAGES = (".jpeg", ".jpg", ".png")
CODES = (0, 1, 2, 130)
"""Exit codes that have a meaning."""
KILLED, TERMINATED = -9, -15
OTHER_DECODER = 3.0
"""Grey levels by which a cell may differ if Pillow decodes a batch in place of DALI, as it does after lost pages."""
TRACES = ("feedline has a bug", "Traceback (most recent call last)", "Fatal Python error")

MOST_TRACE = 4000
"""Characters of a trace that are recorded."""


@dataclass(frozen=True)
class Sample:
    """A sample as a batch had it."""

    label: int
    key: str
    checksum: int
    means: tuple[float, ...] = ()
    """The grey levels of the image's cells."""

    def like(self, other: "Sample | None", grey_levels: float) -> bool:
        """Return whether it is the same sample, with the same pixels or cells that differ by at most so much."""
        if other is None or (self.label, self.key) != (other.label, other.key):
            return False
        pairs = zip(self.means, other.means, strict=True)
        return self.checksum == other.checksum or (
            grey_levels > 0 and max(abs(one - two) for one, two in pairs) <= grey_levels
        )


@dataclass
class Epochs:
    """What a run of the program of epochs printed."""

    samples: dict[tuple[int, int], Sample] = field(default_factory=dict[tuple[int, int], Sample])
    """By (epoch, sample index)."""
    skipped: dict[int, frozenset[int]] = field(default_factory=dict[int, frozenset[int]])
    """The samples that were reported as damaged, of each epoch that ended."""
    error: str | None = None
    left: int | None = None
    grown: int = 0
    repeated: int = 0
    """Samples that came twice in an epoch."""


@dataclass(frozen=True)
class Disturbance:
    """The fault that was injected, what it did, and what was still there after all commands."""

    target: str
    kind: Kind
    detail: str
    moment: float
    felt: bool = True
    """Whether a fault that came while the command ran had an effect."""
    killed: bool = False
    """Whether the fault ended a process by SIGKILL."""
    finished: bool = False
    """Whether the command had written its whole result, though the fault ended it."""
    shared_memory_left: int = 0
    files_left: int = 0


def judge_command(
    fault: Disturbance,
    runs: Sequence[Finished],
    ways: tuple[Way, ...],
    normal: Digest,
    result: Digest,
) -> Outcome:
    """Return the outcome of a command: ``runs`` are the disturbed one and those that were advised after it."""
    first, last = runs[0], runs[-1]
    done = last.code == 0
    missing = normal.keys() - result.keys() if done else set[str]()
    ended = replace(
        _ends(fault, runs),
        said=last_line((first if done else last).output),
        ways=ways,
        survived=done and not (fault.kind in HARMLESS and first.code != 0),
        lost=sum(PurePath(name).suffix.lower() in IMAGES for name in missing),
        wrong=done and result != normal,
    )
    return _judged(fault, first, ended)


def judge_epochs(
    fault: Disturbance,
    runs: Sequence[tuple[Finished, Epochs]],
    normal: Epochs,
) -> Outcome:
    """Return the outcome of epochs. A second run follows one that was killed; it must yield everything."""
    (first, found), (_, last) = runs[0], runs[-1]
    goes_on = found.left is not None
    whole = last.samples == normal.samples
    if fault.kind in HARMLESS:
        survived = goes_on and whole
    elif len(runs) > 1:
        survived = whole
    else:
        survived = goes_on or found.error is not None
    tolerance = OTHER_DECODER if fault.target.endswith("dali") else 0.0
    came = (*found.samples.items(), *last.samples.items())
    differs = any(not sample.like(normal.samples.get(key), tolerance) for key, sample in came)
    ended = replace(
        _ends(fault, [run for run, _ in runs]),
        said=found.error or last_line(first.output),
        survived=survived,
        skipped=sum(len(indexes) for indexes in found.skipped.values()),
        lost=_lost(found, normal),
        wrong=found.repeated > 0 or differs,
        files_left=(found.left or 0) + fault.files_left,
        grown_bytes=found.grown - normal.grown if goes_on else None,
    )
    return _judged(fault, first, ended)


def _ends(fault: Disturbance, runs: Sequence[Finished]) -> Outcome:
    """Return what the ends of all processes say, as of work that was not done."""
    first = runs[0]
    crashed = [first] if _crashed(first, fault) else []
    crashed += [run for run in runs[1:] if _crashed(run, None)]
    return Outcome(
        target=fault.target,
        kind=fault.kind,
        detail=fault.detail,
        moment=round(fault.moment, 2),
        code=first.code,
        said="",
        survived=False,
        hung=any(run.code is None for run in runs),
        crashed=bool(crashed),
        trace=_trace(crashed[0].output) if crashed else "",
        processes_left=sum(run.processes_left for run in runs),
        shared_memory_left=fault.shared_memory_left,
        files_left=fault.files_left,
    )


def _trace(output: str) -> str:
    """Return the part of an output that shows a crash."""
    starts = [place for trace in TRACES if (place := output.find(trace)) >= 0]
    return output[min(starts, default=0) :][-MOST_TRACE:]


def _judged(fault: Disturbance, first: Finished, outcome: Outcome) -> Outcome:
    """Return the outcome with whether the fault was met; one that is not right always counts."""
    return replace(outcome, met=(first.met and fault.felt) or not outcome.right)


def last_line(output: str) -> str:
    """Return the last line that is not empty."""
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _lost(found: Epochs, normal: Epochs) -> int:
    """Return the samples of finished epochs that neither came nor were reported as skipped."""
    due = {(epoch, index) for epoch, index in normal.samples if epoch in found.skipped}
    return sum(index not in found.skipped[epoch] for epoch, index in due - found.samples.keys())


def _crashed(run: Finished, fault: Disturbance | None) -> bool:
    """Return whether a run ended in a way that neither feedline nor the fault chose.

    SIGTERM ends a process that has not yet installed its handlers, and so has said nothing, and one that has finished
    its work and removed them.
    """
    if any(trace in run.output for trace in TRACES):
        return True
    terminated = fault is not None and fault.kind == "term" and run.met
    if run.code is None or run.code in CODES:
        return terminated and run.code not in (0, 130, None)
    if run.code == KILLED:
        return fault is None or not fault.killed
    idle = fault is not None and (fault.finished or not run.output)
    return not (run.code == TERMINATED and terminated and idle)

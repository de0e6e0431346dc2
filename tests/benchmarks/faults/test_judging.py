"""Each figure of the table of faults: an outcome that makes it bad, and one that does not."""

import json
import sys
from dataclasses import replace

import pytest

from feedline.benchmarks.faults.disturbed_epochs import read_epochs
from feedline.benchmarks.faults.judging import Disturbance, judge_command, judge_epochs
from feedline.benchmarks.faults.record import Outcome
from feedline.benchmarks.faults.sessions import Finished
from feedline.benchmarks.faults.table import COLUMNS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="faults are injected by POSIX signals and limits")

KILL, TERM = (Disturbance("prep", kind, "a signal", 1.0) for kind in ("kill", "term"))
DISK = Disturbance("prep", "full disk", "a disk", 1.0)
OK = Finished(0, "done\n", 1.0, 0)
NORMAL = {"a.jpeg": "1", "manifest.json": "2"}


def _of(*runs: Finished, fault: Disturbance = DISK, result: dict[str, str] | None = None) -> Outcome:
    return judge_command(fault, runs, (), NORMAL, NORMAL if result is None else result)


ENDED = replace(OK, code=1, output="feedline: no room\n")
BAD: list[tuple[str, Outcome, int]] = [
    ("injected", _of(ENDED, OK), 1),
    ("ended the command", _of(ENDED, OK), 1),
    ("ended the command", _of(OK), 0),
    ("right in the end", _of(ENDED, OK), 1),
    ("right in the end", _of(ENDED, ENDED), 0),
    ("right in the end", _of(ENDED, OK, result={"a.jpeg": "other"}), 0),
    ("right in the end", _of(ENDED, OK, fault=replace(KILL, kind="stop")), 0),
    ("samples lost", _of(ENDED, OK, result={"manifest.json": "2"}), 1),
    ("samples lost", _of(ENDED, OK), 0),
    ("wrong results", _of(ENDED, OK, result={**NORMAL, "a.jpeg": "other"}), 1),
    ("wrong results", _of(ENDED, OK, result={**NORMAL, "more": "1"}), 1),
    ("wrong results", _of(ENDED, OK), 0),
    ("hangs", _of(replace(OK, code=None), OK), 1),
    ("hangs", _of(ENDED, replace(OK, code=None)), 1),
    ("crashes", _of(ENDED, OK), 0),
    ("crashes", _of(replace(OK, code=-11), OK), 1),
    ("crashes", _of(replace(OK, code=-9), OK), 1),
    ("crashes", _of(replace(OK, code=-9), OK, fault=replace(KILL, killed=True)), 0),
    ("crashes", _of(ENDED, replace(OK, code=-9), OK, fault=replace(KILL, killed=True)), 1),
    ("crashes", _of(replace(OK, code=-15, output=""), OK, fault=TERM), 0),
    ("crashes", _of(replace(OK, code=-15), OK, fault=TERM), 1),
    ("crashes", _of(replace(OK, code=-15), OK, fault=replace(TERM, finished=True)), 0),
    ("crashes", _of(replace(OK, code=-15), OK, fault=replace(KILL, finished=True)), 1),
    ("crashes", _of(ENDED, OK, fault=TERM), 1),
    ("crashes", _of(replace(ENDED, code=130), OK, fault=TERM), 0),
    ("crashes", _of(replace(ENDED, code=134), OK), 1),
    ("crashes", _of(replace(ENDED, output="feedline has a bug: x"), OK), 1),
    ("crashes", _of(replace(OK, output="Traceback (most recent call last):\n"), fault=KILL), 1),
    ("left behind", _of(replace(ENDED, processes_left=2), OK), 2),
    ("left behind", _of(ENDED, OK, fault=replace(DISK, shared_memory_left=1, files_left=1)), 2),
]


@pytest.mark.parametrize(("column", "outcome", "figure"), BAD)
def test_each_figure_of_a_command_can_come_out_bad(column: str, outcome: Outcome, figure: int) -> None:
    """The column counts the outcome, and an outcome that is bad in any way is not right."""
    assert COLUMNS[column]([outcome]) == figure
    if column == "right in the end":
        assert outcome.right == (figure == 1)
    elif column not in ("injected", "ended the command"):
        assert outcome.right == (figure == 0)


def _epochs(*lines: object, code: int = 0, text: str = "") -> Finished:
    return Finished(code, "".join(f"{json.dumps(line)}\n" for line in lines) + text, 1.0, 0)


FIRST = {"epoch": 0, "samples": [[0, 1, "a", 11], [1, 0, "b", 22]]}
ENDS, LEFT = {"ended": 0, "skipped": []}, {"left": 0, "grown": 1000}
WHOLE = _epochs(FIRST, ENDS, LEFT)
STOP, LOST = (Disturbance("epochs of threaded", kind, "x", 1.0) for kind in ("stop", "missing file"))
HALF = {"epoch": 0, "samples": [[0, 1, "a", 11]]}
KILLED = _epochs(HALF, code=-9)
SIGKILL = replace(LOST, kind="kill", killed=True)
ERROR = _epochs(HALF, {"error": "ShardError: gone"}, code=1)


def _of_epochs(fault: Disturbance, *runs: Finished) -> Outcome:
    return judge_epochs(fault, [(run, read_epochs(run.output)) for run in runs], read_epochs(WHOLE.output))


@pytest.mark.parametrize(
    ("column", "outcome", "figure"),
    [
        ("right in the end", _of_epochs(LOST, WHOLE), 1),
        ("right in the end", _of_epochs(LOST, ERROR), 1),
        ("right in the end", _of_epochs(LOST, _epochs(HALF, code=1)), 0),
        ("right in the end", _of_epochs(STOP, ERROR), 0),
        ("right in the end", _of_epochs(STOP, _epochs(HALF, {"ended": 0, "skipped": [1]}, LEFT)), 0),
        ("right in the end", _of_epochs(SIGKILL, KILLED, WHOLE), 1),
        ("right in the end", _of_epochs(SIGKILL, KILLED, ERROR), 0),
        ("right in the end", _of_epochs(SIGKILL, KILLED, _epochs(HALF, ENDS, LEFT)), 0),
        ("ended the command", _of_epochs(LOST, ERROR), 1),
        ("samples skipped", _of_epochs(LOST, _epochs(HALF, {"ended": 0, "skipped": [1]}, LEFT)), 1),
        ("samples lost", _of_epochs(LOST, _epochs(HALF, {"ended": 0, "skipped": [1]}, LEFT)), 0),
        ("samples lost", _of_epochs(LOST, _epochs(HALF, ENDS, LEFT)), 1),
        ("samples lost", _of_epochs(LOST, ERROR), 0),
        ("wrong results", _of_epochs(LOST, _epochs({"epoch": 0, "samples": [[0, 2, "a", 11]]}, code=1)), 1),
        ("wrong results", _of_epochs(LOST, _epochs({"epoch": 0, "samples": [[0, 1, "a", 12]]}, code=1)), 1),
        ("wrong results", _of_epochs(LOST, _epochs(FIRST, HALF, ENDS, LEFT)), 1),
        ("wrong results", _of_epochs(LOST, WHOLE), 0),
        ("hangs", _of_epochs(LOST, replace(WHOLE, code=None)), 1),
        ("crashes", _of_epochs(LOST, _epochs(HALF, code=1, text="Traceback (most recent call last):\n")), 1),
        ("crashes", _of_epochs(LOST, _epochs(HALF, code=-7)), 1),
        ("crashes", _of_epochs(LOST, KILLED), 1),
        ("crashes", _of_epochs(SIGKILL, KILLED, WHOLE), 0),
        ("crashes", _of_epochs(LOST, ERROR), 0),
        ("left behind", _of_epochs(LOST, _epochs(FIRST, ENDS, {"left": 3, "grown": 0})), 3),
        ("left behind", _of_epochs(LOST, replace(WHOLE, processes_left=1)), 1),
    ],
)
def test_each_figure_of_epochs_can_come_out_bad(column: str, outcome: Outcome, figure: int) -> None:
    """The column counts the outcome."""
    assert COLUMNS[column]([outcome]) == figure


def test_a_fault_that_was_not_met_does_not_count_unless_something_is_wrong() -> None:
    """The command had ended before the fault, or the limit was never reached; a bad result always counts."""
    late = replace(OK, met=False)

    assert [_of(OK).met, _of(late).met, _of(OK, fault=replace(DISK, felt=False)).met] == [True, False, False]
    assert _of(late, result={}).met and _of(replace(late, code=1), OK, result={}).met
    assert not _of_epochs(STOP, replace(WHOLE, met=False)).met


def test_memory_that_grew_more_than_without_the_fault_is_recorded() -> None:
    """Bytes above those of the undisturbed run; nothing of epochs that ended with an error."""
    assert _of_epochs(STOP, _epochs(FIRST, ENDS, {"left": 0, "grown": 5000})).grown_bytes == 4000
    assert _of_epochs(LOST, ERROR).grown_bytes is None


@pytest.mark.parametrize(
    ("target", "sample", "wrong"),
    [
        ("epochs of threaded", [0, 1, "a", 12, [10.0]], True),
        ("epochs of dali", [0, 1, "a", 12, [13.0]], False),
        ("epochs of dali", [0, 1, "a", 12, [14.0]], True),
        ("epochs of dali", [0, 2, "a", 11, [10.0]], True),
    ],
)
def test_another_decoder_may_only_change_pixels_a_little(target: str, sample: list[object], wrong: bool) -> None:
    """DALI hands a batch to Pillow after its shard was lost; a grey half of an image would still be noticed."""
    normal = read_epochs(json.dumps({"epoch": 0, "samples": [[0, 1, "a", 11, [10.0]]]}))
    run = _epochs({"epoch": 0, "samples": [sample]}, {"error": "gone"}, code=1)
    assert judge_epochs(replace(LOST, target=target), [(run, read_epochs(run.output))], normal).wrong == wrong

"""Random faults in commands and epochs: the advised command leads to the right result, and nothing is left behind."""

import sys
from pathlib import Path

import pytest

from feedline.benchmarks.claims.markdown import faults
from feedline.benchmarks.faults.advice import advised
from feedline.benchmarks.faults.kinds import Kind
from feedline.prep import read_document

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="faults are injected by POSIX signals and limits")

PAIRS: tuple[tuple[str, Kind], ...] = (
    ("prep", "kill"),
    ("prep", "term"),
    ("prep", "cut file"),
    ("shard", "term"),
    ("shard", "missing file"),
    ("train imagefolder", "kill"),
    ("epochs of threaded", "swapped file"),
    ("epochs of threaded", "stop"),
)


@pytest.mark.slow
def test_a_few_faults_end_right_and_stand_in_a_record(tmp_path: Path) -> None:
    """A short form of the command that fills the table in docs/faults.md."""
    from feedline.benchmarks.faults.campaign import FaultPlan, inject
    from feedline.benchmarks.faults.record import FaultsRecord

    out = tmp_path / "faults" / "few.json"
    out.parent.mkdir()
    plan = FaultPlan(faults=len(PAIRS), seed=1, pairs=PAIRS)
    record = inject(plan, out, ("python", "-m", "feedline.benchmarks.faults"))

    assert [(one.target, one.kind) for one in record.outcomes if one.met] == list(PAIRS)
    for one in record.outcomes:
        assert one.right, one
    assert read_document(out, FaultsRecord) == record
    text = faults(tmp_path)
    assert f"{len(PAIRS)} faults with seed 1" in text and f"| all | {len(PAIRS)} |" in text


TRAIN = ("train", "data", "--epochs", "3", "--out", "run")


@pytest.mark.parametrize(
    ("output", "words", "way"),
    [
        ("", TRAIN, "nothing said"),
        (
            "feedline: run already holds a training run; continue it with: feedline train --resume 'a b/last.pt'; or "
            "choose another --out\n",
            ("train", "--resume", "a b/last.pt"),
            "command",
        ),
        (
            "the run is saved; continue with: feedline train --resume run/checkpoints/last.pt\n"
            "feedline: interrupted; what was finished is kept\n",
            ("train", "--resume", "run/checkpoints/last.pt"),
            "command",
        ),
        ("feedline: run is not empty; choose another --out\n", (*TRAIN[:-1], "run-2"), "other out"),
        ("feedline: no room; make room there, then run the same command again\n", TRAIN, "same command"),
        ("feedline: data is damaged; check it with: feedline verify ROOT\n", TRAIN, "nothing said"),
        ("feedline: no records; measure again with: feedline bench ROOT --out DIR\n", TRAIN, "same command"),
    ],
)
def test_the_next_command_is_taken_from_the_message(output: str, words: tuple[str, ...], way: str) -> None:
    """A whole command without placeholders, another directory, or the same command."""
    found = advised(output, TRAIN, 2)

    assert (found.words, found.way) == (words, way)

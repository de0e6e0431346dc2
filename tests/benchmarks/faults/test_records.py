"""The record of a campaign: continued, and read for the table, also if it is incomplete."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from feedline.benchmarks.claims.markdown import faults
from feedline.benchmarks.faults.kinds import Kind
from feedline.benchmarks.faults.record import FaultsRecord, Outcome, Part
from feedline.benchmarks.measuring.record import Code
from feedline.prep import DatasetError, FeedlineError, MeasurementError, read_document, write_document

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="faults are injected by POSIX signals and limits")

GOOD = Outcome(target="prep", kind="kill", detail="SIGKILL", moment=1.0, code=-9, said="", survived=True)
MISSED = replace(GOOD, code=0, met=False)


def _record(out: Path, *outcomes: Outcome, seed: int = 0, faults: int = 3, commit: str = "a" * 40) -> FaultsRecord:
    """Write a record of this machine with these outcomes."""
    from feedline.benchmarks.faults.record import begun

    parts = (Part(date="2026-01-01", code=Code(feedline="0.1.0", commit=commit, dirty=False), outcomes=len(outcomes)),)
    record = replace(begun(out, seed, faults, 180.0, ("faults",)), outcomes=outcomes, parts=parts)
    out.parent.mkdir(exist_ok=True)
    write_document(out, record)
    return record


def test_a_record_goes_on_with_the_code_of_each_part(tmp_path: Path) -> None:
    """Outcomes of another commit get a part of their own, and the table names both commits."""
    from feedline.benchmarks.faults.record import begun, with_outcome

    out = tmp_path / "faults" / "one.json"
    before = _record(out, GOOD)
    record = with_outcome(with_outcome(begun(out, 0, 3, 180.0, ("again",)), GOOD), GOOD)
    write_document(out, record)

    assert read_document(out, FaultsRecord) == record
    assert record.outcomes == (GOOD, GOOD, GOOD) and [part.outcomes for part in record.parts] == [1, 2]
    assert record.date == before.date and record.parts[0] == before.parts[0]
    assert "Commits: aaaaaaa (1), " in faults(tmp_path)


def test_the_next_fault_is_the_one_after_those_that_were_met() -> None:
    """One that was not met is tried again; after four times another takes its turn; the number is of those met."""
    from feedline.benchmarks.faults.campaign import FaultPlan, drawn, following

    chosen = drawn(FaultPlan(faults=3, pairs=(("prep", "kill"), ("prep", "term"), ("shard", "stop"))))

    assert following(chosen, ()) == ("prep", "kill")
    assert following(chosen, (GOOD,)) == ("prep", "term")
    assert following(chosen, (MISSED, GOOD, MISSED)) == ("prep", "term")
    assert following(chosen, (MISSED,) * 4) == ("prep", "term")
    assert following(chosen, ((MISSED,) * 4 + (GOOD, GOOD))) == ("prep", "kill")
    assert following(chosen, (GOOD, MISSED, GOOD, GOOD)) is None


def test_others_are_injected_in_place_of_a_fault_that_cannot_be_met() -> None:
    """So the number is reached; if none can be met, the campaign ends."""
    from feedline.benchmarks.faults.campaign import FaultPlan, drawn, following

    chosen = drawn(FaultPlan(faults=6, pairs=(("prep", "kill"), ("prep", "term"), ("shard", "stop"))))
    outcomes, injected = list[Outcome](), list[tuple[str, Kind]]()
    while pair := following(chosen, outcomes):
        can = pair != ("prep", "term")
        outcomes.append(GOOD if can else MISSED)
        injected += [pair] * can

    assert len(injected) == 6 and len(outcomes) == 6 + 8
    assert injected.count(("prep", "kill")) == injected.count(("shard", "stop")) == 3
    assert following(chosen, (MISSED,) * 23) and following(chosen, (MISSED,) * 24) is None
    assert following(chosen, (GOOD, *(MISSED,) * 24)) is None and following(chosen, (MISSED,) * 100) is None


def test_faults_that_cannot_be_met_are_named(tmp_path: Path) -> None:
    """The same command would inject nothing more, so it is not advised."""
    from feedline.benchmarks.faults.__main__ import main
    from feedline.benchmarks.faults.campaign import FaultPlan, drawn, following

    out = tmp_path / "faults" / "one.json"
    tried = [replace(MISSED, kind=kind, target=target) for target, kind in drawn(FaultPlan(faults=2)) for _ in range(8)]
    assert following(drawn(FaultPlan(faults=2)), tried) is None
    _record(out, *tried, faults=2)
    with pytest.raises(MeasurementError, match="0 of 2 faults were injected, and the others cannot be met on this"):
        main(["--out", str(out), "--faults", "2"], standalone_mode=False)

    assert f"Never met: {', '.join(sorted(f'{one.kind} in {one.target} (8 times)' for one in tried[::8]))}." in (
        faults(tmp_path)
    )


def test_the_drawn_faults_are_the_same_for_a_larger_number() -> None:
    """So a campaign that is continued to more faults injects what the larger one would have."""
    from feedline.benchmarks.faults.campaign import FaultPlan, drawn

    few, many = drawn(FaultPlan(faults=70, seed=5)), drawn(FaultPlan(faults=200, seed=5))
    assert many[:70] == few and len(many) == 200
    assert few != drawn(FaultPlan(faults=70, seed=6))


def test_a_finished_record_is_not_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints its table again, and injects nothing."""
    from feedline.benchmarks.faults.__main__ import main

    out = tmp_path / "faults" / "one.json"
    _record(out, GOOD, GOOD, GOOD)
    content = out.read_bytes()
    main(["--out", str(out), "--faults", "3"], standalone_mode=False)

    assert "3 faults with seed 0" in capsys.readouterr().out and out.read_bytes() == content


def test_a_finished_record_with_a_bad_outcome_fails_and_names_it(tmp_path: Path) -> None:
    """The exit code of the command shows what the table shows."""
    from feedline.benchmarks.faults.__main__ import main

    out = tmp_path / "faults" / "one.json"
    _record(out, GOOD, replace(GOOD, kind="term", crashed=True), GOOD)
    with pytest.raises(MeasurementError, match=r"term in prep \(SIGKILL\) did not end right"):
        main(["--out", str(out), "--faults", "3"], standalone_mode=False)


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["--seed", "1"], MeasurementError, r"holds faults of seed 0 .*; choose another --out"),
        ([], DatasetError, r"is not a FaultsRecord document"),
    ],
)
def test_a_record_of_other_settings_is_not_continued(
    tmp_path: Path, words: list[str], error: type[FeedlineError], said: str
) -> None:
    """The command names what is there, and changes nothing."""
    from feedline.benchmarks.faults.__main__ import main

    out = tmp_path / "faults" / "one.json"
    _record(out, GOOD)
    if not words:
        out.write_text("{}")
    content = out.read_bytes()
    with pytest.raises(error, match=said):
        main(["--out", str(out), *words], standalone_mode=False)
    assert out.read_bytes() == content


def test_an_incomplete_record_says_how_many_were_injected(tmp_path: Path) -> None:
    """Faults that were not met are counted apart."""
    _record(tmp_path / "faults" / "one.json", GOOD, MISSED, MISSED)
    text = faults(tmp_path)

    assert "1 of 3 faults with seed 0;" in text and "2 further faults were not met and do not count." in text
    assert "| kill | 1 | 1 | 1 | 0 |" in text and "| all | 1 |" in text


def test_records_of_several_seeds_stand_in_one_table(tmp_path: Path) -> None:
    """Processes with different seeds write into different files of one folder."""
    _record(tmp_path / "faults" / "one.json", GOOD, GOOD, GOOD)
    _record(tmp_path / "faults" / "two.json", GOOD, replace(GOOD, kind="term", wrong=True), seed=1)
    text = faults(tmp_path)

    assert text.count("| fault |") == 1 and "5 of 6 faults with seeds 0, 1;" in text
    assert "| term | 1 | 1 | 0 | 0 | 0 | 1 |" in text and "| all | 5 | 5 | 4 |" in text


def test_a_record_without_outcomes_has_a_table(tmp_path: Path) -> None:
    """A campaign that was stopped before its first fault says so."""
    _record(tmp_path / "faults" / "one.json")
    assert "0 of 3 faults with seed 0;" in faults(tmp_path)

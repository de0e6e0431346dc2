"""The result tables of README and docs: they agree with the records."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from feedline.benchmarks import Record, Window, read_records, write_record
from feedline.benchmarks.bench.training_speed import Speed, SpeedRecord
from feedline.benchmarks.claims.loader_markdown import cold, loaders, peers
from feedline.benchmarks.claims.markdown import TABLES
from feedline.benchmarks.claims.readme import documents, splice, stale
from feedline.benchmarks.claims.threaded import ThreadedRecord
from feedline.benchmarks.claims.threaded_costs import OpenedIndex, Timed
from feedline.benchmarks.machine.process_usage import BytesRead
from feedline.prep import MeasurementError, write_document
from feedline.train import TrainConfig

TOP = Path(__file__).resolve().parents[3]
RECORDS = TOP / "benchmarks" / "records"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of the texts and records of this checkout, for changes."""
    shutil.copy(TOP / "README.md", tmp_path)
    shutil.copytree(TOP / "docs", tmp_path / "docs")
    shutil.copytree(RECORDS, tmp_path / "benchmarks" / "records")
    return tmp_path


def splicer(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the program that writes the tables."""
    command = [sys.executable, "-m", "feedline.benchmarks.claims.readme", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def measured(record: Record, loader: str, repeat: int, rate: int) -> Record:
    """Return ``record`` as if another loader had reached ``rate`` images/s."""
    measurement = replace(record.measurement, windows=(Window(seconds=1.0, samples=rate),))
    return replace(record, loader=loader, repeat=repeat, measurement=measurement)


def test_the_documents_hold_what_the_records_say() -> None:
    """If this fails, run: python -m feedline.benchmarks.claims.readme."""
    assert list(stale(TOP)) == []


def test_every_table_stands_in_a_document() -> None:
    """A table that no document shows is dead code."""
    texts = "".join(path.read_text("utf-8") for path in documents(TOP))

    assert [name for name in TABLES if f"<!-- begin: {name} -->" not in texts] == []


@pytest.mark.parametrize("document", ["README.md", "docs/prep.md", "docs/shards.md", "docs/training.md"])
def test_a_changed_digit_is_found_and_repaired(checkout: Path, document: str) -> None:
    """One digit between two markers changes, and the document is returned with its right text."""
    path = checkout / document
    text = path.read_text("utf-8")
    begin = text.index(" -->\n\n", text.index("<!-- begin: "))
    digit = next(place for place in range(begin, len(text)) if text[place].isdigit())
    path.write_text(text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :], "utf-8")

    assert stale(checkout) == {path: text}


@pytest.mark.slow
def test_the_command_finds_and_repairs_it(checkout: Path) -> None:
    """--check fails, names the document and changes nothing; without it the document is written."""
    readme = checkout / "README.md"
    text = readme.read_text("utf-8")
    readme.write_text(text.replace("| `threaded` | 2 |", "| `threaded` | 3 |"), "utf-8")

    checked = splicer(checkout, "--check")
    assert checked.returncode == 1 and readme.read_text("utf-8") != text
    assert "README.md" in checked.stderr and "Traceback" not in checked.stderr
    assert splicer(checkout).returncode == 0
    assert readme.read_text("utf-8") == text


@given(st.lists(st.text("a|<!-\n 1>", max_size=20), min_size=2, max_size=2), st.text("a1|\n", max_size=20))
def test_only_what_stands_between_the_markers_changes(around: list[str], old: str) -> None:
    """Text before and after stays as it was, and a second splice changes nothing."""
    before, after = f"{around[0]}\n", f"\n{around[1]}"
    text = f"{before}<!-- begin: t -->\n{old}\n<!-- end: t -->{after}"
    spliced = splice(text, {"t": lambda: "| new |"})

    assert spliced == f"{before}<!-- begin: t -->\n\n| new |\n\n<!-- end: t -->{after}"
    assert splice(spliced, {"t": lambda: "| new |"}) == spliced


@pytest.mark.parametrize(
    "text",
    [
        "<!-- begin: t -->\nno end",
        "no begin\n<!-- end: t -->",
        "<!-- begin: t -->\n<!-- begin: t -->\n<!-- end: t -->",
        "<!-- begin: t -->\n<!-- end: s -->",
        "<!-- begin: unknown -->\n<!-- end: unknown -->",
    ],
)
def test_markers_without_partner_or_table_are_refused(text: str) -> None:
    """Otherwise half of a document would be replaced."""
    with pytest.raises(MeasurementError, match=r"no partner|there is no table"):
        splice(text, {"t": lambda: "", "s": lambda: ""})


def test_a_folder_that_is_not_a_checkout_is_refused(tmp_path: Path) -> None:
    """Without README.md there is no text to write into."""
    with pytest.raises(MeasurementError, match=r"no README\.md"):
        stale(tmp_path)


def test_a_ratio_is_taken_run_by_run(tmp_path: Path) -> None:
    """3.0 in one run and 3.3 in the other are 3.15; the best number of workers counts."""
    one = read_records([RECORDS / "loaders"])[0]
    for repeat, ours in enumerate((300, 330)):
        for loader, rate, workers in (("threaded", ours, 2), ("ffcv", 100, 2), ("ffcv", 50, 0)):
            record = measured(one, loader, repeat, rate)
            place = tmp_path / "peers"
            place.mkdir(exist_ok=True)
            write_record(place, replace(record, config=replace(record.config, workers=workers)))
    table = peers(tmp_path)

    assert "| `threaded` | 2 | 315 | 9.5% | 1 |" in table
    assert "| `ffcv` | 2 | 100 | 0.0% | 3.15 (3.00 to 3.30) |" in table
    assert table.count("`ffcv`") == 1


def test_cold_rows_stand_next_to_their_warm_ones(tmp_path: Path) -> None:
    """Whole runs of the same loader and workers, and the bytes that the cold ones read; a single row is not a pair."""
    one = read_records([RECORDS / "loaders"])[0]
    place = tmp_path / "cold"
    place.mkdir()
    write_record(place, replace(one, config=replace(one.config, image_size=32)))  # a table without any pair
    for loader, state, rate in (("threaded", "warm", 400), ("threaded", "cold", 100), ("dali", "warm", 300)):
        found = measured(one, loader, 0, rate)
        measurement = replace(
            found.measurement,
            first_batch_seconds=1.0,
            warmup=(),
            samples_seen=rate,
            bytes_read=BytesRead(disk=5000 * rate, calls=0),
        )
        write_record(place, replace(found, measurement=measurement, cache=state, cache_asked=state))
    table = cold(tmp_path)

    assert table.count("cold cache") == 1 and "32 px" not in table
    assert "| `threaded` | 0 | 50 | 200 | 0.25 | 5 |" in table
    assert "dali" not in table


def test_each_machine_has_a_table_of_its_own(tmp_path: Path) -> None:
    """Records of two machines, in any folder, are shown one after the other and never compared."""
    one = read_records([RECORDS / "loaders"])[0]
    for cpus in (2, 64):
        machine = replace(one.environment.machine, cpu="Xeon", cpus=cpus)
        place = tmp_path / "loaders" / str(cpus)
        place.mkdir(parents=True)
        write_record(place, replace(one, environment=replace(one.environment, machine=machine)))
    text = loaders(tmp_path)

    assert "2 CPUs of Xeon" in text and "64 CPUs of Xeon" in text
    assert text.count("| loader | workers |") == 2


def test_the_newest_document_of_a_machine_counts(tmp_path: Path) -> None:
    """Training speed measured twice: the later rates are shown, in the table and in README's summary."""
    one = read_records([RECORDS / "loaders"])[0]
    for day, rate in (("2026-01-02", 400.0), ("2026-01-01", 999.0)):
        record = SpeedRecord(
            date=f"{day}T00:00:00+00:00",
            code=one.code,
            environment=one.environment,
            config=TrainConfig(root=Path("data"), out=Path("speed"), device="cpu"),
            steps=30,
            speeds=tuple(
                Speed(device="cpu", ranks=1, loader=name, workers=2, images_per_second=speed, data_wait=0.25)
                for name, speed in (("threaded", rate), ("cached", 2 * rate))
            ),
        )
        place = tmp_path / day
        place.mkdir()
        write_document(place / "training-speed.json", record)

    assert "| 1 x cpu | threaded | 2 | 400 | 50% | - | 25.0% |" in TABLES["training-speed"](tmp_path)
    assert "`threaded` 400 images/s, 50% of the ceiling" in TABLES["measured"](tmp_path)
    assert "999" not in TABLES["measured"](tmp_path)


def test_a_missed_promise_is_named(tmp_path: Path) -> None:
    """The summary counts the kept promises and names the missed ones, with the number and the target."""
    one = read_records([RECORDS / "loaders"])[0]
    rates = {"serial": 1000, "whole": 500, 1: 900, 2: 1400, "python": 50_000}
    timed = {name: Timed(images=1000, seconds=(1000 / rate,)) for name, rate in rates.items()}
    record = ThreadedRecord(
        date="2026-01-01T00:00:00+00:00",
        command=(),
        code=one.code,
        environment=one.environment,
        data=one.data,
        serial=timed["serial"],
        whole=timed["whole"],
        loader={1: timed[1], 2: timed[2]},
        python=timed["python"],
        scaling=(),
        peak_rss_bytes=5 * 10**8,
        index=OpenedIndex(samples=1_281_167, shards=600, bytes=10**8, seconds=(0.5,)),
    )
    (tmp_path / "threaded").mkdir()
    write_document(tmp_path / "threaded" / "here.json", record)
    summary = TABLES["measured"](tmp_path)

    assert "5 of 7 kept; missed: share of its ceiling: 0.70 x (0.70 to 0.70), target >= 0.85x;" in summary
    assert "2 threads against 1: 1.56 x (1.56 to 1.56), target >= 1.8x" in summary
    assert "| tiles against whole images | 2.00 x (2.00 to 2.00) | >= 1.5x | met |" in TABLES["threaded"](tmp_path)


def test_without_records_there_is_nothing_to_show(tmp_path: Path) -> None:
    """There are no empty tables and no headings without a table."""
    assert {name: make(tmp_path) for name, make in TABLES.items()} == dict.fromkeys(TABLES, "")


def test_a_goal_stands_next_to_its_ratio_reached_or_missed(tmp_path: Path) -> None:
    """Each of the project's two loaders has its own ratios, against the peers that it is measured with."""
    one = read_records([RECORDS / "loaders"])[0]
    place = tmp_path / "peers-small"
    place.mkdir()
    rates = {"threaded": 700, "threaded-raw": 900, "torchvision": 100, "dali-reader": 250, "ffcv-raw": 300}
    for loader, rate in rates.items():
        write_record(place, measured(one, loader, 0, rate))
    table = TABLES["small-peers"](tmp_path)

    assert "| `threaded` is faster by | goal | `threaded-raw` is faster by | goal |" in table
    assert "| 7.00 | 6.5, reached | 9.00 | - |" in table
    assert "| 2.80 | 3, missed | 3.60 | 4, missed |" in table
    assert "| 2.33 | - | 3.00 | 3, reached |" in table


def test_a_table_without_the_second_loader_has_no_column_for_it(tmp_path: Path) -> None:
    """A goal without a measured ratio is neither reached nor missed."""
    one = read_records([RECORDS / "loaders"])[0]
    place = tmp_path / "peers-small"
    place.mkdir()
    for loader, repeat in (("threaded", 0), ("torchvision", 1)):
        write_record(place, measured(one, loader, repeat, 100))
    table = TABLES["small-peers"](tmp_path)

    assert "threaded-raw" not in table
    assert "| - | 6.5 |" in table

"""Records: what was measured survives on disk, and what cannot be compared or understood is refused by name."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from feedline.benchmarks import (
    Plan,
    Record,
    Window,
    bench,
    read_record,
    read_records,
    tabulate,
    write_record,
)
from feedline.benchmarks.machine.process_usage import BytesRead
from feedline.benchmarks.measuring.process import MeasuringJob, MeasuringRun
from feedline.prep import FeedlineError, MeasurementError, OutputError

from ..runs import run_at

OLD = Path(__file__).with_name("schema-1")


def fake_run(job: MeasuringJob, timeout: float) -> MeasuringRun:
    """Answer at once: 100 images/s for each worker and one more."""
    rate = 100 * (1 + job.spec.workers)
    warmup = (Window(seconds=1.0, samples=rate),)
    return run_at(rate, peak_rss_bytes=2**30, warmup=warmup, label_sum=7, cpu_seconds=2.0)


@pytest.fixture
def records(one_image: Path, tmp_path: Path) -> Path:
    """Return a directory with the records of two runs."""
    plan = Plan(root=one_image, loaders=("imagefolder",), workers=(0, 1), repeats=1)
    bench(plan, tmp_path / "bench", run=fake_run)
    return tmp_path / "bench"


def one(records: Path) -> Record:
    return read_records([records])[0]


def test_a_record_reads_back_as_it_was_written(records: Path, tmp_path: Path) -> None:
    """Nothing is lost or changed between writing and reading."""
    record = one(records)

    assert read_record(write_record(tmp_path, record)) == record


def test_what_schema_2_added_reads_back_too(records: Path, tmp_path: Path) -> None:
    """State of the cache, bytes read and storage, with other values than their defaults."""
    record = one(records)
    measurement = replace(
        record.measurement,
        bytes_read=BytesRead(disk=10**12, calls=1),
        bytes_read_in_windows=BytesRead(disk=5, calls=0),
    )
    record = replace(
        record,
        cache="cold",
        cache_asked="cold",
        resident_before=0.0,
        resident_after=0.25,
        data=replace(record.data, storage="nvme"),
        measurement=measurement,
    )

    assert read_record(write_record(tmp_path, record)) == record


def test_records_of_schema_1_are_read_with_none_for_what_they_did_not_know() -> None:
    """These were made before the cache was checked; their table is still made from them."""
    old = read_records([OLD])

    assert {record.schema for record in old} == {1}
    assert {(r.cache_asked, r.resident_before, r.data.storage) for r in old} == {(None, None, None)}
    assert {r.measurement.bytes_read for r in old} == {None}
    rows = tabulate(old)[0].rows
    assert {row.loader for row in rows} == {"imagefolder", "threaded"}
    assert all(row.images_per_second > 0 for row in rows)


def test_records_of_both_schemas_share_rows(records: Path) -> None:
    """A warm run is a warm run, whichever version wrote it down."""
    new = one(records)
    old = replace(new, schema=1, cache="warm", cache_asked=None)

    assert [row.runs for row in tabulate([replace(new, cache="warm"), old])[0].rows] == [2]


def test_a_record_keeps_the_raw_windows_and_the_whole_configuration(records: Path) -> None:
    """Statistics can be made anew, and the run can be repeated, from the file alone."""
    content = json.loads(next(records.glob("*w1*.json")).read_text("utf-8"))

    assert content["measurement"]["windows"] == [{"seconds": 1.0, "samples": 200}] * 3
    assert content["config"]["batch_size"] == 64 and content["config"]["transform"] == "train"
    assert (content["schema"], content["cache_asked"]) == (2, "warm")
    assert content["cache"] == ("warm" if sys.platform == "linux" else "unknown")  # elsewhere nobody can look
    assert content["environment"]["machine"]["cpus"] >= 1
    assert content["command"][:2] == ["feedline", "bench"] and "--seed" in content["command"]


def test_another_schema_is_refused_by_its_number(records: Path) -> None:
    """A record of the future is not half understood."""
    path = next(records.glob("*.json"))
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "schema": 99}))

    with pytest.raises(MeasurementError, match="schema 99, and this feedline reads schemas 1 to 2"):
        read_record(path)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": "other"}', b'{"schema": 99}', b"\xff\xfe"])
def test_what_is_no_record_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    """A foreign or damaged file becomes one sentence that names it."""
    path = tmp_path / "foreign.json"
    path.write_bytes(content)

    with pytest.raises(MeasurementError, match=r"foreign\.json"):
        read_records([path])


@pytest.mark.parametrize("windows", [[], [{"seconds": 0, "samples": 9}], [{"seconds": "NaN", "samples": 9}]])
def test_a_record_without_a_rate_is_refused(records: Path, windows: list[object]) -> None:
    """Empty, timeless and undefined windows would divide by zero later."""
    path = next(records.glob("*.json"))
    content = json.loads(path.read_text("utf-8"))
    content["measurement"]["windows"] = windows
    path.write_text(json.dumps(content))

    with pytest.raises(MeasurementError):
        read_record(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(cut=st.floats(0, 1), junk=st.binary(max_size=20))
def test_a_damaged_record_never_gives_anything_but_a_sentence(records: Path, cut: float, junk: bytes) -> None:
    """Cut a record anywhere and put bytes there: it is read whole or refused, with our own error."""
    whole = next(records.glob("*.json")).read_bytes()
    place = int(cut * len(whole))
    path = records.parent / "damaged.json"
    path.write_bytes(whole[:place] + junk + whole[place + len(junk) :])
    try:
        assert isinstance(read_record(path), Record)
    except FeedlineError as error:
        assert "\n" not in str(error)


def test_records_of_unlike_machines_share_no_table(records: Path) -> None:
    """The sentence names what differs."""
    record = one(records)
    machine = replace(record.environment.machine, cpu="Another CPU")
    other = replace(record, environment=replace(record.environment, machine=machine))

    with pytest.raises(MeasurementError, match=r"cpu .* and Another CPU"):
        tabulate([record, other])


def test_records_of_other_images_get_a_table_of_their_own(records: Path) -> None:
    """A rate on small images says nothing about a rate on large ones."""
    record = one(records)
    other = replace(record, config=replace(record.config, image_size=64))

    assert [table.image_size for table in tabulate([record, other])] == [224, 64]


def test_a_full_disk_is_one_sentence(records: Path, tmp_path: Path) -> None:
    """Where a record cannot be written, the path and the next step are named."""
    with pytest.raises(OutputError, match="make room"):
        write_record(tmp_path / "missing", one(records))


def test_no_records_at_all_says_how_to_make_some(tmp_path: Path) -> None:
    """An empty directory is named with the next command."""
    with pytest.raises(MeasurementError, match="feedline bench"):
        read_records([tmp_path])

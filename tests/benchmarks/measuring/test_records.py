"""Records: they read back as they were written, and records that cannot be compared or read are rejected."""

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
    """Return a run at once: 100 images/s for each worker and 100 more."""
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
    """Writing and reading a record does not change it."""
    record = one(records)

    assert read_record(write_record(tmp_path, record)) == record


def test_the_fields_of_schema_2_read_back(records: Path, tmp_path: Path) -> None:
    """The state of the cache, bytes read and storage have values other than their defaults."""
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


def test_records_of_schema_1_are_read_with_none_for_the_fields_they_lack() -> None:
    """These records are older than the check of the cache, and still give a table."""
    old = read_records([OLD])

    assert {record.schema for record in old} == {1}
    assert {(r.cache_asked, r.resident_before, r.data.storage) for r in old} == {(None, None, None)}
    assert {r.measurement.bytes_read for r in old} == {None}
    rows = tabulate(old)[0].rows
    assert {row.loader for row in rows} == {"imagefolder", "threaded"}
    assert all(row.images_per_second > 0 for row in rows)


def test_records_of_both_schemas_share_rows(records: Path) -> None:
    """Warm runs share a row, whichever version wrote them."""
    new = one(records)
    old = replace(new, schema=1, cache="warm", cache_asked=None)

    (row,) = tabulate([replace(new, cache="warm"), old])[0].rows

    assert row.runs == 2 and row.h100_au == tabulate([old])[0].rows[0].h100_au is not None


def test_a_record_keeps_the_raw_windows_and_the_whole_configuration(records: Path) -> None:
    """The file alone is enough to compute statistics again and to repeat the run."""
    content = json.loads(next(records.glob("*w1*.json")).read_text("utf-8"))

    assert content["measurement"]["windows"] == [{"seconds": 1.0, "samples": 200}] * 3
    assert content["config"]["batch_size"] == 64 and content["config"]["transform"] == "train"
    assert (content["schema"], content["cache_asked"]) == (2, "warm")
    assert content["cache"] == ("warm" if sys.platform == "linux" else "unknown")  # other systems cannot check
    assert content["environment"]["machine"]["cpus"] >= 1
    assert content["command"][:2] == ["feedline", "bench"] and "--seed" in content["command"]


def test_another_schema_is_rejected_by_its_number(records: Path) -> None:
    """A record of a later schema is not read in part."""
    path = next(records.glob("*.json"))
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "schema": 99}))

    with pytest.raises(MeasurementError, match="schema 99, and this feedline reads schemas 1 to 2"):
        read_record(path)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": "other"}', b'{"schema": 99}', b"\xff\xfe"])
def test_a_file_that_is_no_record_is_rejected_by_name(tmp_path: Path, content: bytes) -> None:
    """The error for a foreign or damaged file is one sentence that names it."""
    path = tmp_path / "foreign.json"
    path.write_bytes(content)

    with pytest.raises(MeasurementError, match=r"foreign\.json"):
        read_records([path])


@pytest.mark.parametrize("windows", [[], [{"seconds": 0, "samples": 9}], [{"seconds": "NaN", "samples": 9}]])
def test_a_record_without_a_rate_is_rejected(records: Path, windows: list[object]) -> None:
    """Windows that are empty or without time would give a division by zero."""
    path = next(records.glob("*.json"))
    content = json.loads(path.read_text("utf-8"))
    content["measurement"]["windows"] = windows
    path.write_text(json.dumps(content))

    with pytest.raises(MeasurementError):
        read_record(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(cut=st.floats(0, 1), junk=st.binary(max_size=20))
def test_a_damaged_record_gives_a_record_or_one_sentence(records: Path, cut: float, junk: bytes) -> None:
    """Bytes are replaced in any place of a record: it is read completely, or rejected with a FeedlineError."""
    whole = next(records.glob("*.json")).read_bytes()
    place = int(cut * len(whole))
    path = records.parent / "damaged.json"
    path.write_bytes(whole[:place] + junk + whole[place + len(junk) :])
    try:
        assert isinstance(read_record(path), Record)
    except FeedlineError as error:
        assert "\n" not in str(error)


def test_records_of_different_machines_share_no_table(records: Path) -> None:
    """The error names the field that differs."""
    record = one(records)
    machine = replace(record.environment.machine, cpu="Another CPU")
    other = replace(record, environment=replace(record.environment, machine=machine))

    with pytest.raises(MeasurementError, match=r"cpu .* and Another CPU"):
        tabulate([record, other])


def test_records_of_other_images_get_a_table_of_their_own(records: Path) -> None:
    """Rates on small images and on large images cannot be compared."""
    record = one(records)
    other = replace(record, config=replace(record.config, image_size=64))

    assert [table.image_size for table in tabulate([record, other])] == [224, 64]


def test_a_full_disk_is_one_sentence(records: Path, tmp_path: Path) -> None:
    """The error names the path of the record and the next step."""
    with pytest.raises(OutputError, match="make room"):
        write_record(tmp_path / "missing", one(records))


def test_the_error_for_no_records_names_the_command(tmp_path: Path) -> None:
    """The error names the empty directory and the next command."""
    with pytest.raises(MeasurementError, match="feedline bench"):
        read_records([tmp_path])

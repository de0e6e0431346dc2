"""`python -m feedline.benchmarks.remote`: a link, the clients, the bytes of rows, and the tables of a record."""

import time
from pathlib import Path

import pytest

from feedline.benchmarks.machine.environment import capture
from feedline.benchmarks.measuring.dataset import describe
from feedline.benchmarks.measuring.record import running_code
from feedline.benchmarks.remote import clients
from feedline.benchmarks.remote.link_server import CREDIT, Bucket
from feedline.benchmarks.remote.record import PLACES, ClientRun, LoaderRun, RemoteRecord, RowBytes, link_of, table
from feedline.benchmarks.remote.rows import row_bytes
from feedline.prep import ShardSpec, read_document, write_document, write_shards


def test_all_connections_share_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of the test: 10 MB at 1 MB/s take 10 s, less what an idle link sends at once."""
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", sleep)
    bucket = Bucket(1e6)
    for _ in range(100):
        bucket.admit(100_000)

    assert now[0] == pytest.approx(110.0 - CREDIT)


def test_clients_fetch_ranges_behind_a_link(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each returns all bytes, from a server in another process."""
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(clients, "RANGES", 3)
    runs = clients.measure_clients(root, 0.001, 1e9, 1)

    assert {(run.in_flight, run.limited) for run in runs} == {(1, True), (8, True), (1, False), (8, False)}
    assert {run.bytes for run in runs} == {runs[0].bytes}
    assert all(run.seconds > 0 for run in runs)


def test_rows_are_counted_from_the_index(root: Path, folders: Path) -> None:
    """A crop touches some rows; without restart markers there are no rows, and each image is whole."""
    found = row_bytes(root)
    write_shards(folders, ShardSpec(seed=3, encode="copy"))
    copied = row_bytes(folders)

    assert found.images == 84
    assert 0 < found.rows < found.up_to_last_row < found.whole < found.shard
    assert copied.rows == copied.up_to_last_row == copied.whole < copied.shard
    assert row_bytes(root, epoch=1).rows != found.rows


def test_a_record_becomes_tables(root: Path, tmp_path: Path) -> None:
    """Medians with their spread, and shares of the local rate."""
    rates = {"local": (90.0, 100.0, 110.0), "cold": (50.0, 60.0, 70.0), "warm": (95.0, 95.0, 95.0)}
    runs = tuple(
        LoaderRun(
            loader="threaded",
            where=where,
            first_batch_seconds=0.5,
            warm_up_seconds=0.75,
            images_per_second=rate,
            samples_seen=84,
        )
        for where in PLACES
        for rate in rates[where]
    )
    client = ClientRun(client="fsspec", in_flight=8, limited=True, bytes=10**8, seconds=1.0, cpu_seconds=0.2)
    record = RemoteRecord(
        date="2026-11-26T00:00:00+00:00",
        command=("python",),
        code=running_code(),
        environment=capture(),
        data=describe(root, "train"),
        latency_seconds=0.01,
        bytes_per_second=1.25e8,
        batch_size=8,
        image_size=224,
        workers=2,
        versions={"fsspec": "1.0"},
        runs=runs,
        clients=(client,),
        rows=RowBytes(images=84, shard=1000.0, whole=900.0, up_to_last_row=800.0, rows=700.0),
    )
    write_document(tmp_path / "record.json", record)
    text = table(read_document(tmp_path / "record.json", RemoteRecord))

    assert "| threaded | 100 | 20% | 0.50 s | 1.25 s | 60 | 33% | 60% | 95 | 0% | 95% |" in text
    assert "| fsspec 1.0, the link | 8 | 100 | 0% | 200 | 0% |" in text
    assert "two requests | 700 | 70% |" in text
    assert link_of(record).startswith("84 images, 10 ms of latency, 1 Gb/s, batch 8")

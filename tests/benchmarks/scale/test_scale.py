"""The command that measures very many samples, with few."""

import subprocess
import sys
from pathlib import Path

import pytest

from feedline.benchmarks.scale.record import ScaleRecord, cost_table, mixing_table, opening_table
from feedline.prep import read_document


@pytest.mark.slow
def test_the_command_opens_real_indexes_in_every_rank(tmp_path: Path) -> None:
    """Three ranks, and the record of which the page has its tables; nothing but the record is left."""
    command = [sys.executable, "-m", "feedline.benchmarks.scale", "--samples", "20000", "--shards", "4"]
    words = ["--ranks", "3", "--mixed", "100000", "--note", "A test.", "--out", str(tmp_path / "scale.json")]
    done = subprocess.run([*command, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = read_document(tmp_path / "scale.json", ScaleRecord)

    assert (record.samples, record.shards, len(record.ranks)) == (20_000, 4, 3)
    assert record.index_bytes > 20_000 * 40
    assert [one.rank for one in record.ranks] == [0, 1, 2]
    for table in (opening_table(record), mixing_table(record), cost_table(record)):
        assert table in done.stdout
    whole, *windows = record.mixing
    assert whole.same_shard < min(one.same_shard for one in windows)  # a true shuffle separates the most
    assert list(tmp_path.iterdir()) == [tmp_path / "scale.json"]

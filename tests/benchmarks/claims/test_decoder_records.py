"""The records of the fused decoder's claims: what is measured stands in them, and the tables say what they say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from feedline.benchmarks.claims.fused_fuzz import FuzzRecord
from feedline.benchmarks.claims.markdown import TABLES
from feedline.benchmarks.claims.threaded_orders import OrdersRecord, measure_orders, table
from feedline.prep import read_document


def fuzz(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command that decodes damaged images."""
    command = [sys.executable, "-m", "feedline.benchmarks.claims.fused_fuzz", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_each_image_size_has_a_table_from_its_record(root: Path, tmp_path: Path) -> None:
    """Two sizes on one machine are two tables, the larger first; the exact order is within a level of Pillow."""
    for size in (32, 64):
        record = measure_orders(root, tmp_path / "orders" / f"{size}.json", size, 40, 1)
        assert read_document(tmp_path / "orders" / f"{size}.json", OrdersRecord) == record
        assert [order.name for order in record.orders][:3] == ["libjpeg-turbo", "exact", "planar"]
        assert record.orders[1].largest_error <= 1 <= record.orders[2].largest_error
        assert record.images % 25 == 0
    text = TABLES["orders"](tmp_path)

    assert text.index("64 pixels, ") < text.index("32 pixels, ")
    assert table(record) in text and "| libjpeg-turbo | " in text and " | 1.00 | " in text
    assert TABLES["measured"](tmp_path).count("times libjpeg-turbo") == 2


@pytest.mark.slow
def test_a_second_run_counts_on_and_other_images_are_refused(tmp_path: Path) -> None:
    """The record of 300 images becomes one of 500; another seed may not be added to it."""
    out = tmp_path / "fuzz" / "here.json"
    assert fuzz("--images", 300, "--seed", 5, "--out", out).returncode == 0
    first = read_document(out, FuzzRecord).outcome
    again = fuzz("--images", 500, "--seed", 5, "--out", out)
    record = read_document(out, FuzzRecord)
    other = fuzz("--images", 600, "--seed", 6, "--out", out)

    assert (first.images, record.outcome.images) == (300, 500)
    assert json.loads(again.stdout)["images"] == 500
    assert 0 < first.refused < record.outcome.refused
    assert other.returncode == 1 and "seed 5" in other.stderr
    assert read_document(out, FuzzRecord) == record
    assert "| changed a guard zone | 0 | 0.00% |" in TABLES["fuzz"](tmp_path)
    assert "0 changed a guard zone, 0 had other pixels" in TABLES["measured"](tmp_path)

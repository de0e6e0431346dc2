"""What columns cost: measured from the list and from the shards, and refused for samples without columns."""

from pathlib import Path

import pytest

from feedline.benchmarks.claims.columns_cost import ColumnsRecord, measure_columns
from feedline.benchmarks.claims.markdown import TABLES
from feedline.prep import MeasurementError, read_document, write_shards

from ...prep.column_roots import NAMES, add_columns


def test_both_places_are_measured_and_stand_in_the_table(folders: Path, tmp_path: Path) -> None:
    """The list of a root and the files next to its shards, one time for each repeat."""
    add_columns(folders)
    write_shards(folders)
    record = measure_columns(folders, tmp_path / "columns" / "here.json", repeats=2)
    text = TABLES["columns"](tmp_path)

    assert read_document(tmp_path / "columns" / "here.json", ColumnsRecord) == record
    assert set(record.places) == {"list", "shards"} and set(record.columns) == set(NAMES)
    assert all(len(timed.seconds) == 2 and timed.images == 84 for timed in record.places.values())
    assert "| `ROOT/train.jsonl` | " in text and "| files next to the shards | " in text
    assert "3 columns of 84 samples; " in text


def test_samples_without_columns_are_refused(root: Path, tmp_path: Path) -> None:
    """Nothing could be measured."""
    with pytest.raises(MeasurementError, match="have no columns in train"):
        measure_columns(root, tmp_path / "columns.json", repeats=1)
    assert not list(tmp_path.iterdir())

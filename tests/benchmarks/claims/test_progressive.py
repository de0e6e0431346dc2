"""The measurement of progressive JPEGs: it runs on any root, and its table says what the record says."""

from pathlib import Path

from feedline.benchmarks.claims.progressive import ProgressiveRecord, measure_progressive, table
from feedline.prep import read_document


def test_the_record_holds_what_was_measured(root: Path, tmp_path: Path) -> None:
    """Sizes and times of both kinds of file, one time of each pass."""
    record = measure_progressive(root, tmp_path / "progressive.json", images=6, passes=2)

    assert read_document(tmp_path / "progressive.json", ProgressiveRecord) == record
    assert record.images == 6
    assert all(
        len(cost.whole_seconds) == len(cost.crop_seconds) == 2 for cost in (record.progressive, record.sequential)
    )
    assert record.sequential.bytes > record.progressive.bytes > 0
    assert "| progressive, 6 images of " in table(record)

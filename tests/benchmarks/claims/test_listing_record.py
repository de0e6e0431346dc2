"""The measurement of listings: real files and processes, a record, and a table made from it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from feedline.benchmarks.claims.listing import ListingRecord, main
from feedline.benchmarks.claims.markdown import TABLES
from feedline.prep import read_document


@pytest.mark.slow
def test_a_listing_is_measured_and_becomes_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that exist are listed, names without files are opened by two processes at once, and nothing is left."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "untouched"))  # the command sets it, for its processes
    place, out = tmp_path / "place", tmp_path / "records" / "listing" / "here.json"
    place.mkdir()
    words = ["--folder", str(place), "--files", "1300", "--images", "200000", "--ranks", "2", "--out", str(out)]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    record = read_document(out, ListingRecord)

    assert done.exit_code == 0
    assert (record.classes, record.first.images, [rank.images for rank in record.ranks]) == (2, 1300, [200_000] * 2)
    assert record.listing_bytes > 200_000
    assert "| the same for 200,000 files, predicted | " in TABLES["listing"](tmp_path / "records")
    assert not list(place.iterdir())

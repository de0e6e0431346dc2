"""The measurement of other projects' loops: whole epochs before and after, and a table of what the record says."""

from pathlib import Path

import pytest

from feedline.benchmarks.claims.loops import LoopsRecord, measure_loops, table
from feedline.benchmarks.claims.loops_of_libraries import LOOPS, Setting, run_loop
from feedline.prep import MeasurementError, read_document

pytestmark = pytest.mark.slow  # the libraries take seconds to import

for library in ("accelerate", "lightning", "timm", "transformers"):
    pytest.importorskip(library)


@pytest.fixture
def setting(root: Path) -> Setting:
    return Setting(root=root, loader="threaded", batch_size=20, image_size=16, workers=0, epochs=2)


def test_the_record_holds_what_was_measured(setting: Setting, tmp_path: Path) -> None:
    """The images of the second epoch, in the loop of pytorch/examples."""
    record = measure_loops(setting, tmp_path / "loops.json", ["pytorch/examples"], repeats=1)

    assert read_document(tmp_path / "loops.json", LoopsRecord) == record
    assert [(run.kind, run.images) for run in record.runs] == [("before", 80), ("after", 80)]
    assert all(run.seconds > 0 for run in record.runs)
    assert "| pytorch/examples | " in table(record)


@pytest.mark.parametrize("name", LOOPS)
def test_every_loop_takes_whole_epochs_from_feedline(name: str, setting: Setting) -> None:
    """As before; 84 images are 4 batches of 20."""
    assert run_loop(name, setting, "after").counts == [20] * 8


def test_less_than_a_batch_is_refused(root: Path, tmp_path: Path) -> None:
    """No rate would come of it."""
    setting = Setting(root=root, loader="threaded", batch_size=100, image_size=16, workers=0, epochs=2)
    with pytest.raises(MeasurementError, match="84 images are less than a batch; use a smaller --batch-size"):
        measure_loops(setting, tmp_path / "loops.json", [*LOOPS], repeats=1)

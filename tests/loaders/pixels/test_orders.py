"""The order of the arithmetic, ``--pixels``: measured and trained on request, and never compared with the other one."""

import json
from pathlib import Path

import pytest

from feedline.benchmarks import read_records, tabulate
from feedline.benchmarks.measuring.record import read_record
from feedline.cli.main import run as feedline


def test_bench_measures_planar_pixels_apart(root: Path, tmp_path: Path) -> None:
    """Only the loaders that have them, in a table of their own; a record from before the option is exact."""
    out = tmp_path / "bench"
    words = ["bench", str(root), "--image-size", "16", "--workers", "0", "--repeats", "1", "--seconds", "0.2"]
    assert feedline([*words, "--loader", "threaded", "--out", str(out)]) == 0
    assert feedline([*words, "--pixels", "planar", "--out", str(out)]) == 0
    exact, planar = sorted(tabulate(read_records([out])), key=lambda table: table.pixels)

    assert (exact.pixels, planar.pixels) == ("16 px", "16 px, planar")
    assert [row.loader for row in planar.rows] == ["threaded"]
    assert "--pixels planar" in " ".join(planar.records[0].command)
    path = next(path for path in out.glob("*.json") if read_record(path).config.pixels == "exact")
    content = json.loads(path.read_text("utf-8"))
    del content["config"]["pixels"]
    path.write_text(json.dumps(content))
    assert read_record(path).config.pixels == "exact"


@pytest.mark.slow
def test_training_and_diagnosis_take_planar_pixels(root: Path, tmp_path: Path) -> None:
    """With the loader that has them; another one by name is refused in one sentence."""
    words = ["train", str(root), "--pixels", "planar", "--image-size", "16", "--epochs", "1", "--batch-size", "16"]
    assert feedline([*words, "--workers", "0", "--device", "cpu", "--out", str(tmp_path / "run")]) == 0
    config = (tmp_path / "run" / "config.json").read_text("utf-8")

    assert '"pixels": "planar"' in config and '"loader": "threaded"' in config
    assert feedline([*words, "--loader", "imagefolder", "--device", "cpu", "--out", str(tmp_path / "other")]) == 1
    words = ["diagnose", str(root), "--pixels", "planar", "--image-size", "16", "--step-ms", "5", "--seconds", "0.2"]
    assert feedline([*words, "--repeats", "1", "--workers", "1"]) == 0

"""A real data set from images to an accuracy, by the commands: scikit-learn's handwritten digits (1,797 scans, UCI).

Accuracies are published on it. scikit-learn's "Recognizing hand-written digits" reports 97 % of the second half, by a
support vector machine that learned from the first. The SciPy lecture notes ("Compare classifiers on the digits data")
report 93.4 % by a linear model and 97.6 to 99.1 % by nearest neighbours, on a quarter drawn at random.
"""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from feedline.cli.main import cli

PUBLISHED = 0.934
"""The least of these. This run reached 98 %, and what another machine's arithmetic changes is some images of 899."""


def run(*words: object) -> dict:
    result = CliRunner().invoke(cli, [*map(str, words), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.slow
def test_digits_reach_their_published_accuracy(tmp_path: Path) -> None:
    """Learn from the first half and judge by the second."""
    pytest.importorskip("timm")
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    half = len(digits.target) // 2
    for number, (digit, label) in enumerate(zip(digits.images, digits.target.tolist(), strict=True)):
        folder = tmp_path / "digits" / ("train" if number < half else "val") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digit * 255 / 16).round().astype("uint8")).save(folder / f"{number:04d}.png")

    run("prep", "imagefolder", tmp_path / "digits", "--out", tmp_path / "data")
    run("shard", tmp_path / "data")
    trained = run(
        *("train", tmp_path / "data", "--out", tmp_path / "run", "--model", "timm:test_resnet", "--workers", 0),
        *("--loader", "webdataset", "--image-size", 32, "--epochs", 6, "--batch-size", 32, "--lr", 0.1, "--flip", 0),
        *("--scale", 0.7, 1, "--eval-resize", 32, "--device", "cpu"),
    )
    evaluated = run("evaluate", trained["best"], tmp_path / "data")

    assert evaluated["top1"] >= trained["val"]["top1"]  # best.pt may be of an earlier epoch
    assert evaluated["images"] == len(digits.target) - half
    assert evaluated["top1"] >= PUBLISHED

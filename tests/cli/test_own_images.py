"""A folder that feedline did not make, from its images to a trained model, by the command line alone."""

import json
from pathlib import Path

import pytest

from feedline.cli.main import run

from ..prep.folders.photos import classes
from ..prep.trees import write_tree

Captured = pytest.CaptureFixture[str]
QUICK = ["--loader", "threaded", "--workers", "0", "--seconds", "0.2", "--repeats", "1"]


@pytest.mark.slow
def test_from_photos_to_a_trained_model(tmp_path: Path, capsys: Captured) -> None:
    """3 classes with Unicode names, jpg, png and webp mixed, no splits."""
    photos = write_tree(tmp_path / "photos", classes(images=12, suffixes=(".jpg", ".PNG", ".webp")))
    data, size = str(tmp_path / "data"), ["--image-size", "64", "--batch-size", "8"]
    small = ["--epochs", "2", "--workers", "0", "--stem", "imagenet"]

    for command in (
        ["prep", "imagefolder", str(photos), "--out", data, "--val-fraction", "0.2"],
        ["shard", data],
        ["verify", data, "--decode"],
        ["bench", data, *QUICK, *size, "--out", str(tmp_path / "b")],
        ["diagnose", data, *QUICK, *size, "--step-ms", "50"],
        ["train", data, *small, *size, "--out", str(tmp_path / "run"), "--json"],
    ):
        capsys.readouterr()
        assert run(command) == 0, capsys.readouterr().err

    result = json.loads(capsys.readouterr().out)
    assert result["train"]["loss"] > 0 and 0 <= result["val"]["top1"] <= 1


@pytest.mark.slow
def test_images_are_trained_on_where_they_lie(tmp_path: Path, capsys: Captured) -> None:
    """No copy and no shards: the folder has a manifest and two lists more than before."""
    photos = write_tree(tmp_path / "photos", classes(images=10, suffixes=(".jpg", ".PNG", ".webp")))
    options = ["--epochs", "1", "--image-size", "32", "--batch-size", "8", "--workers", "0", "--stem", "imagenet"]

    for command in (
        ["prep", "imagefolder", str(photos), "--out", str(photos), "--val-fraction", "0.2"],
        ["verify", str(photos), "--decode"],
        ["train", str(photos), *options, "--out", str(tmp_path / "run"), "--json"],
    ):
        capsys.readouterr()
        assert run(command) == 0, capsys.readouterr().err

    assert json.loads(capsys.readouterr().out)["val"]["loss"] > 0
    assert sorted(path.name for path in photos.iterdir() if path.is_file()) == [
        *("manifest.json", "train.jsonl", "val.jsonl"),
    ]

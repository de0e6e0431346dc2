"""The two tables about training: whether loaders agree, and how fast each set of devices trains."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feedline.benchmarks.accuracy import Run, agreement, write_digits
from feedline.benchmarks.training_speed import Speed, SpeedRecord, tabulate_speeds
from feedline.prep import prepare_tiny_imagenet, read_document, verify


def test_the_digits_are_a_tiny_imagenet(tmp_path: Path) -> None:
    """The archive prepares like the official one: 10 classes, 1437 and 360 readable pictures of 64 px."""
    manifest = prepare_tiny_imagenet(write_digits(tmp_path), tmp_path / "data")
    assert [entry.name for entry in manifest.classes] == [str(digit) for digit in range(10)]
    assert (manifest.splits["train"].images, manifest.splits["val"].images) == (1437, 360)
    assert verify(tmp_path / "data", decode=True).ok
    with Image.open(tmp_path / "data" / "val" / "n00000000" / "val_0.JPEG") as zero:
        assert zero.size == (64, 64)
        values = np.asarray(zero.convert("L"))
    assert values[28:36, 28:36].mean() < values[8:56, 8:56].mean()  # a zero is hollow


def test_loaders_disagree_when_their_means_are_further_apart_than_seeds() -> None:
    """The verdict compares the distance of the means with the widest range over seeds."""
    runs = [
        Run(loader=loader, seed=seed, top1=top1, loss=0.0, images_per_second=1.0)
        for loader, values in {"a": (0.90, 0.94), "b": (0.91, 0.95)}.items()
        for seed, top1 in enumerate(values)
    ]
    assert "| `b` | 91.0 | 95.0 | 93.00 | 2.83 |" in agreement(runs)
    assert "The loaders agree: their means are 1.00 points apart, and seeds 4.00 points." in agreement(runs)
    worse = [replace(run, top1=run.top1 - 0.1) if run.loader == "b" else run for run in runs]
    assert "The loaders DISAGREE: their means are 9.00 points apart" in agreement(worse)


def test_the_speeds_are_set_against_ceiling_and_one_rank() -> None:
    """Of the ceiling: the same devices with cached. Scaling: per rank, against one rank of the same device."""
    speeds = [
        Speed(device="cuda", ranks=ranks, loader=loader, workers=2, images_per_second=rate, data_wait=0.25)
        for ranks, loader, rate in [(1, "a", 800.0), (1, "cached", 1000.0), (4, "a", 1600.0), (4, "cached", 4000.0)]
    ]
    table = tabulate_speeds(speeds)
    assert "| 1 x cuda | `a` | 2 | 800 | 80% | - | 25.0% |" in table
    assert "| 4 x cuda | `a` | 2 | 1,600 | 40% | 50% | 25.0% |" in table
    assert "| 4 x cuda | `cached` | 2 | 4,000 | 100% | 100% | 25.0% |" in table


@pytest.mark.slow
def test_loaders_are_measured_on_one_and_two_ranks(root: Path, tmp_path: Path) -> None:
    """Real ranks take real steps; the record holds each row, and the table stands on stdout."""
    command = [sys.executable, "-m", "feedline.benchmarks.training_speed", str(root), "--out", str(tmp_path)]
    command += ["--image-size", "32", "--batch-size", "8", "--steps", "2", "--ranks", "1", "--ranks", "2"]
    command += ["--stem", "imagenet", "--loader", "imagefolder", "--loader", "cached"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    record = read_document(tmp_path / "training-speed.json", SpeedRecord)
    rows = [(speed.ranks, speed.loader) for speed in record.speeds]
    assert rows == [(1, "imagefolder"), (1, "cached"), (2, "imagefolder"), (2, "cached")]
    assert all(speed.images_per_second > 0 and 0 < speed.data_wait < 1 for speed in record.speeds)
    assert "| 2 x cpu | `cached` | 0 |" in done.stdout

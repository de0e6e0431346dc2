"""The two tables about training: the agreement of loaders, and the training speed on each set of devices."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from feedline.benchmarks.bench.scaling import tabulate_speeds
from feedline.benchmarks.bench.training_speed import Speed, SpeedJob, SpeedRecord, run_ranks
from feedline.benchmarks.claims.accuracy import write_digits
from feedline.cli.main import run as feedline
from feedline.prep import MeasurementError, prepare_tiny_imagenet, read_document, verify
from feedline.train import TrainConfig


def test_the_digits_are_a_tiny_imagenet(tmp_path: Path) -> None:
    """The archive is prepared like the official one: 10 classes, half of the images in each split, all of 64 px."""
    manifest = prepare_tiny_imagenet(write_digits(tmp_path), tmp_path / "data")
    assert [entry.name for entry in manifest.classes] == [str(digit) for digit in range(10)]
    assert (manifest.splits["train"].images, manifest.splits["val"].images) == (898, 899)
    assert verify(tmp_path / "data", decode=True).ok
    with Image.open(tmp_path / "data" / "val" / "n00000000" / "val_0.JPEG") as zero:
        assert zero.size == (64, 64)
        values = np.asarray(zero.convert("L"))
    assert values[28:36, 28:36].mean() < values[8:56, 8:56].mean()  # a zero is hollow


def test_the_speeds_are_compared_with_ceiling_and_one_rank() -> None:
    """The ceiling is ``cached`` on the same devices; scaling compares a rank with one rank of the same device."""
    speeds = [
        Speed(device="cuda", ranks=ranks, loader=loader, workers=2, images_per_second=rate, data_wait=0.25)
        for ranks, loader, rate in [(1, "a", 800.0), (1, "cached", 1000.0), (4, "a", 1600.0), (4, "cached", 4000.0)]
    ]
    table = tabulate_speeds(speeds)
    assert "| 1 x cuda | a | 2 | 800 | 80% | - | 25.0% |" in table
    assert "| 4 x cuda | a | 2 | 1,600 | 40% | 50% | 25.0% |" in table
    assert "| 4 x cuda | cached | 2 | 4,000 | 100% | 100% | 25.0% |" in table


TINY = ["--image-size", "32", "--batch-size", "8", "--steps", "2", "--stem", "imagenet"]


def nameless() -> list[str]:
    """Return what starts a program on a machine whose name has no address; nothing if that is not allowed here."""
    command = ["unshare", "-u", "sh", "-c", 'hostname none.invalid && exec "$@"', "sh"]
    allowed = shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0
    return command if allowed else []


@pytest.mark.slow
def test_loaders_are_measured_on_one_and_two_ranks(root: Path, tmp_path: Path) -> None:
    """Real ranks take real steps; the record stores each row, and JSON adds scaling and share of the ceiling.

    The name of the machine need not have an address.
    """
    program = [sys.executable, "-c", "import sys; from feedline.cli.main import run; sys.exit(run(sys.argv[1:]))"]
    words = ["bench", str(root), "--train", "--out", str(tmp_path), "--json", *TINY, "--ranks", "1", "--ranks", "2"]
    command = [*nameless(), *program, *words, "--loader", "imagefolder", "--loader", "cached"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    record = read_document(tmp_path / "training-speed.json", SpeedRecord)
    rows = [(speed.ranks, speed.loader) for speed in record.speeds]
    assert rows == [(1, "imagefolder"), (1, "cached"), (2, "imagefolder"), (2, "cached")]
    assert all(speed.images_per_second > 0 and 0 < speed.data_wait < 1 for speed in record.speeds)
    results = json.loads(done.stdout)["results"]
    assert results[2]["scaling"] == pytest.approx(results[2]["images_per_second"] / results[0]["images_per_second"] / 2)
    assert results[0]["scaling"] is None and results[1]["of_ceiling"] == 1.0
    assert "2 x cpu" in done.stderr and "training-speed.json" in done.stderr


@pytest.mark.slow
def test_a_row_that_fails_does_not_affect_the_others(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of two ranks has fewer images than a batch; the row of one rank is kept, and the exit code is 1."""
    command = ["bench", str(root), "--train", "--out", str(tmp_path), "--json", *TINY, "--ranks", "1", "--ranks", "2"]
    assert feedline([*command, "--batch-size", "60", "--loader", "threaded"]) == 1
    captured = capsys.readouterr()
    assert [row["ranks"] for row in json.loads(captured.out)["results"]] == [1]
    assert "threaded on 2 x cpu could not be measured" in captured.err and "--batch-size" in captured.err


@pytest.mark.slow
def test_ranks_that_take_too_long_are_ended(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million steps take longer than 20 s; torchrun and its ranks, whose job is in tmp_path, are all ended."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    config = TrainConfig(root=root, out=tmp_path, loader="cached", workers=0, device="cpu", image_size=32, batch_size=8)
    with pytest.raises(MeasurementError, match="cached on 2 x cpu took more than 20 s"):
        run_ranks(SpeedJob(config=config, classes=4, steps=10**6), 2, timeout=20)
    assert not [one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(one.info["cmdline"] or ())]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--train", "--seconds", "1"], "--seconds does not apply to --train"),
        (["--train", "--workers", "2"], "--workers does not apply to --train"),
        (["--train", "--batch-size", "8,16"], "one --batch-size"),
        (["--train", "--loader", "nobody"], "there is no loader 'nobody'"),
        (["--model", "resnet50"], "--model needs --train"),
        (["--steps", "3"], "--steps needs --train"),
    ],
)
def test_options_without_effect_are_wrong_usage(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    """The exit code is 2 and nothing is written: no option is ignored."""
    assert feedline(["bench", str(root), "--out", str(tmp_path / "out"), *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

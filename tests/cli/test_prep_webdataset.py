"""Foreign shards through the command line, from preparing them to a trained model."""

import json
from pathlib import Path

import pytest

from feedline.cli.main import run

from ..prep.foreign_shards import CLASSES, image, sample, write_img2dataset, write_tar, write_timm


def test_prep_webdataset_prints_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts and the next command on stderr, one object on stdout."""
    place = write_timm(tmp_path / "wds")
    pattern = f"{place}/imagenet1k-{{train,validation}}-{{0000..0001}}.tar"
    assert run(["prep", "webdataset", pattern, "--out", str(tmp_path / "data"), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "root": str(tmp_path / "data"),
        "dataset": "imagenet1k",
        "classes": 3,
        "splits": {split: {"samples": 12, "shards": 2, "labelled": True} for split in ("train", "val")},
    }
    err = " ".join(said.err.split())
    assert "train: 12 samples in 2 shards" in err and f"next: feedline bench {tmp_path / 'data'} --out bench" in err
    assert run(["verify", str(tmp_path / "data")]) == 0


def test_questions_are_answered_with_the_options_that_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The split, then the label."""
    place = write_img2dataset(tmp_path / "laion")
    command = ["prep", "webdataset", str(place), "--out", str(tmp_path / "data")]
    assert run(command) == 1 and "--split-from laion=SPLIT" in " ".join(capsys.readouterr().err.split())
    command += ["--split-from", "laion=train"]
    assert run(command) == 1 and "--label-from json:kind ('cat')" in " ".join(capsys.readouterr().err.split())
    assert run([*command, "--label-from", "json:kind"]) == 0
    assert run(["prep", "webdataset", str(place), "--out", str(tmp_path / "x"), "--split-from", "laion"]) == 2


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Shards of 3 classes that are named in the .json, as PNG, WebP and JPEG, in train and val."""
    for split, count in (("train", 24), ("val", 9)):
        for number in range(2):
            members: list[tuple[str, bytes]] = []
            for seed in range(number * count, (number + 1) * count):
                extension = ("jpg", "PNG", "webp")[seed // 3 % 3]
                about = {"label": ("猫", "собака", "Käfer")[seed % 3], "id": CLASSES[seed % 3]}
                members += sample(f"{seed:05d}", {extension: image(seed, extension, (80, 72)), "json": about})
            write_tar(tmp_path / "theirs" / split / f"{number:05d}.tar", members)
    return tmp_path / "theirs"


@pytest.mark.slow
def test_from_foreign_shards_to_a_trained_model(shards: Path, tmp_path: Path) -> None:
    """Preparing, verifying, benching, diagnosing, training, evaluating, comparing and sharding again."""
    data, out = str(tmp_path / "data"), str(tmp_path / "run")
    short = ["--seconds", "0.2", "--repeats", "1", "--batch-size", "4", "--image-size", "32"]
    checkpoints = [str(tmp_path / name / "checkpoints" / "last.pt") for name in ("run", "web")]
    train = ["--epochs", "2", "--image-size", "64", "--batch-size", "8", "--device", "cpu", "--workers", "0"]
    for command in (
        ["prep", "webdataset", str(shards), "--out", data, "--label-from", "json:label"],
        ["verify", data, "--decode"],
        ["doctor", data],
        ["bench", data, "--out", str(tmp_path / "b"), "--loader", "webdataset", "--workers", "0", *short],
        ["diagnose", data, "--step-ms", "50", "--loader", "threaded", "--workers", "0", *short],
        ["train", data, "--out", out, *train],
        ["train", data, "--out", str(tmp_path / "web"), "--loader", "webdataset", "--epochs", "1", *train[2:]],
        ["evaluate", checkpoints[0], data, "--device", "cpu", "--workers", "0"],
        ["compare", *checkpoints, data, "--out", str(tmp_path / "compared"), "--device", "cpu", "--workers", "0"],
        ["shard", data, "--encode", "restart", "--out", str(tmp_path / "new" / "shards")],
        ["verify", str(tmp_path / "new"), "--decode"],
    ):
        assert run(command) == 0, command
    assert {"theirs"} == {path.name for path in tmp_path.iterdir()} - {"data", "b", "run", "web", "compared", "new"}

"""What is evaluated: a checkpoint as its run evaluated it, or weights as the options say, and nothing in between."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feedline.cli.main import run as feedline
from feedline.prep import TrainingError
from feedline.train import EvaluateConfig, TrainConfig, compare, evaluate, export_weights, train
from feedline.train.checkpoint import read_checkpoint

from ..runs import CLASSES, PER_CLASS, last

VAL = CLASSES * PER_CLASS


@pytest.fixture
def weights(finished: TrainConfig, tmp_path: Path) -> Path:
    """Return a file of the finished run's weights alone, as another program writes them."""
    export_weights(last(finished), tmp_path / "bare.pt")
    return tmp_path / "bare.pt"


def words_of(command: str, config: TrainConfig, *files: Path) -> list[str]:
    return [command, *map(str, files), str(config.root), "--loader", "imagefolder", "--workers", "0", "--device", "cpu"]


def settings(root: Path, **more: object) -> EvaluateConfig:
    return EvaluateConfig(root=root, loader="imagefolder", device="cpu", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("option", [["--model", "resnet18"], ["--model", "timm:test_resnet"], ["--stem", "small"]])
def test_a_checkpoint_refuses_options_that_it_answers_itself(
    option: list[str], finished: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --model, its image size and its crop would be lost without a word; its own stem would be used."""
    name, value = option
    said = f"last.pt is a checkpoint of feedline, which says its {name[2:]}: "
    assert feedline([*words_of("evaluate", finished, last(finished)), *option]) == 1
    told = capsys.readouterr().err
    assert said in told and f"leave out {name}" in told
    pair = last(finished), last(finished)
    for letter in "ab":
        words = words_of("compare", finished, *pair)
        assert feedline([*words, "--out", str(tmp_path / "out"), f"{name}-{letter}", value]) == 1
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_weights_are_compared_on_the_images_that_evaluate_takes(
    finished: TrainConfig, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same model at the same size agrees with itself; at another it is what evaluate finds there."""
    words = [*words_of("compare", finished, last(finished), weights), "--model-b", "resnet18", "--stem-b", "imagenet"]
    words += ["--out", str(tmp_path / "out"), "--json"]
    assert feedline([*words, "--image-size-b", "32"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["disagreements"], found["skipped"]) == (VAL, 0, 0)
    options = {"image_size": 48, "resize_size": 64, "interpolation": "bicubic", "flip": True}
    given = ["--image-size-b", "48", "--resize-size-b", "64", "--interpolation-b", "bicubic", "--flip-b"]
    assert feedline([*words, *given]) == 0
    found = json.loads(capsys.readouterr().out)
    config = settings(finished.root, model="resnet18", stem="imagenet", **options)
    alone = evaluate(weights, config)
    assert (found["b"]["top1"], found["b"]["loss"]) == (alone.top1, alone.loss)
    assert found["a"]["top1"] == evaluate(last(finished), settings(finished.root)).top1
    with pytest.raises(TrainingError, match="compared on the same images"):
        compare((last(finished), weights), settings(finished.root), config_b=replace(config, split="train"))


def test_weights_to_export_are_those_of_a_checkpoint(
    finished: TrainConfig, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused before the evaluation, and what was evaluated is printed even if the file cannot be written."""
    named = [*words_of("evaluate", finished, weights), "--model", "resnet18", "--image-size", "32"]
    assert feedline([*named, "--weights-out", str(tmp_path / "copy.pt")]) == 2
    assert "--weights-out" in capsys.readouterr().err
    lost = str(tmp_path / "nowhere" / "copy.pt")
    assert feedline([*words_of("evaluate", finished, last(finished)), "--weights-out", lost, "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["images"] == VAL
    assert "choose another --weights-out" in captured.err


@pytest.fixture
def skipping(config: TrainConfig, tmp_path: Path) -> TrainConfig:
    """Return a finished run that left out a damaged class of val."""
    root = tmp_path / "broken"
    shutil.copytree(config.root, root)
    for image in sorted((root / "val").rglob("*.JPEG"))[:PER_CLASS]:
        image.write_bytes(image.read_bytes()[:100])
    skipping = replace(config, root=root, on_error="skip", epochs=1, batch_size=4)
    train(skipping)
    return skipping


def test_what_a_run_left_out_its_evaluation_leaves_out(
    skipping: TrainConfig, finished: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures are those of the run, and both commands say how many images they lack."""
    val = read_checkpoint(last(skipping)).about.history[-1].val
    assert val is not None
    assert feedline([*words_of("evaluate", skipping, last(skipping)), "--batch-size", "4", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["top1"], found["images"], found["skipped"]) == (val.top1, VAL - PER_CLASS, PER_CLASS)
    assert f"{PER_CLASS} images could not be decoded and were left out; see which: feedline verify" in captured.err
    words = [*words_of("compare", skipping, last(skipping), last(finished)), "--out", str(tmp_path / "out"), "--json"]
    assert feedline(words) == 1  # the other run stops at a damaged image
    assert "cannot decode" in capsys.readouterr().err
    assert feedline([*words, "--on-error", "skip"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["images"], found["skipped"]) == (VAL - PER_CLASS, PER_CLASS)
    assert all("val/" in listed["file"] for listed in found["listed"])
    assert f"{PER_CLASS} images could not be decoded" in captured.err
    assert feedline([*words_of("evaluate", skipping, last(skipping)), "--on-error", "raise"]) == 1


def test_listed_images_are_the_right_ones_behind_what_was_left_out(
    skipping: TrainConfig, finished: TrainConfig
) -> None:
    """Rows and sample indexes differ then: the truth that is listed is the class of the file's folder."""
    found, images = compare((last(skipping), last(finished)), settings(skipping.root, on_error="skip"), limit=20)
    assert found.listed
    for listed, image in zip(found.listed, images, strict=True):
        assert listed.truth.id in Path(image.name).parts
        assert len(image.data) > 100


def test_a_split_of_nothing_but_damage_has_no_figures(skipping: TrainConfig, finished: TrainConfig) -> None:
    for image in (skipping.root / "val").rglob("*.JPEG"):
        image.write_bytes(image.read_bytes()[:100])
    with pytest.raises(TrainingError, match=r"the split 'val' has no image that can be decoded; .*feedline verify"):
        evaluate(last(skipping), settings(skipping.root))


def test_paths_may_be_text_and_numbers_numpys(finished: TrainConfig, tmp_path: Path) -> None:
    """In evaluate, compare and export_weights; other types are refused."""
    config = EvaluateConfig(root=str(finished.root), loader="imagefolder", batch_size=np.int64(9), device="cpu")  # type: ignore[arg-type]
    path = str(last(finished))
    found = evaluate(path, config)
    assert found.images == CLASSES * PER_CLASS
    assert compare((path, path), config)[0].disagreements == 0
    export_weights(path, str(tmp_path / "weights.pth"))
    named = replace(config, model="resnet18", stem="imagenet", image_size=np.int64(32))  # type: ignore[arg-type]
    assert evaluate(str(tmp_path / "weights.pth"), named).top1 == found.top1
    for wrong in ({"batch_size": 1.5}, {"split": None}, {"flip": "no"}, {"root": None}, {"workers": "2"}):
        with pytest.raises(TrainingError, match=f"{next(iter(wrong))} must be "):
            EvaluateConfig(**({"root": "data", "loader": "imagefolder", "device": "cpu"} | wrong))  # type: ignore[arg-type]


def test_weights_without_settings_are_told_what_they_need(weights: Path, finished: TrainConfig) -> None:
    """Not that a field is missing in a file that another program wrote."""
    config = EvaluateConfig(root=finished.root, loader="imagefolder", device="cpu")
    with pytest.raises(TrainingError, match=r"no settings of a run; .* with --init, and are evaluated with"):
        evaluate(weights, config)

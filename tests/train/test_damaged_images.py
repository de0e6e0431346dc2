"""With ``--on-error skip``, damaged images leave a run smaller batches, too small ones among them."""

import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from feedline.cli.main import run as feedline
from feedline.loaders import LoaderSpec, open_loader
from feedline.prep import TrainingError
from feedline.train import TrainConfig, train

from ..processes import finished
from .runs import CLASSES, PER_CLASS, last, records, same, weights
from .test_ranks import torchrun
from .test_resuming import stop_at


@pytest.fixture(params=["imagefolder", "threaded"])
def skipping(request: pytest.FixtureRequest, config: TrainConfig, tmp_path: Path) -> TrainConfig:
    """Return a run that skips what is damaged, on a copy of the root."""
    root = tmp_path / "broken"
    shutil.copytree(config.root, root)
    return replace(config, root=root, loader=request.param, batch_size=4, on_error="skip")


def images_of(root: Path, split: str) -> list[Path]:
    return sorted((root / split).rglob("*.JPEG"))


def cut(images: Iterable[Path]) -> None:
    for image in images:
        image.write_bytes(image.read_bytes()[:100])


def left_of_batches(config: TrainConfig, **share: int) -> list[int]:
    """Return how many images of each batch of the first epoch can be decoded."""
    spec = LoaderSpec.train(config.root, batch_size=config.batch_size, image_size=32, on_error="skip", **share)
    with open_loader(config.loader, replace(spec, empty_batches=True)) as loader:
        return [len(batch.labels) for batch in loader]


@pytest.mark.parametrize(("model", "least"), [("resnet18", 2), ("timm:test_vit", 1)])
def test_batches_that_are_too_small_are_left_out(model: str, least: int, skipping: TrainConfig) -> None:
    """BatchNorm needs two images, and every model one. The others count, and the run says how many did not."""
    images = images_of(skipping.root, "train")
    cut(image for number, image in enumerate(images) if number % 3)
    left = left_of_batches(skipping)
    assert {0, 1, 2} <= set(left)
    said: list[str] = []
    result = train(replace(skipping, model=model, epochs=1), notice=said.append)
    (line,) = records(skipping)
    trained = [count for count in left if count >= least]
    assert (line["images"], line["step"]) == (sum(trained), len(trained))
    assert result.skipped == CLASSES * PER_CLASS * 2 // 3
    (sentence,) = (sentence for sentence in said if "leaves out" in sentence)
    assert sentence.startswith(f"epoch 1 leaves out {len(left) - len(trained)} batch")


def test_a_run_that_leaves_out_batches_resumes_as_if_it_had_not_stopped(skipping: TrainConfig, tmp_path: Path) -> None:
    cut(image for number, image in enumerate(images_of(skipping.root, "train")) if number % 3)
    train(skipping)
    stopped = replace(skipping, out=tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        train(stopped, stop_at(("train epoch 2/2", 2)))  # type: ignore[arg-type]
    train(replace(stopped, resume=last(stopped)))
    assert same(weights(stopped), weights(skipping))
    assert records(stopped) == records(skipping)


def test_a_damaged_class_of_val_is_left_out(skipping: TrainConfig) -> None:
    """Val is in order, so that its images fill whole batches."""
    cut(images_of(skipping.root, "val")[:PER_CLASS])
    result = train(replace(skipping, epochs=1))
    assert result.skipped == PER_CLASS
    assert result.val is not None
    rest = CLASSES * PER_CLASS - PER_CLASS
    assert result.val.top1 * rest == pytest.approx(round(result.val.top1 * rest))


@pytest.mark.parametrize(
    ("split", "message"), [("train", "no batch of epoch 1 has 2 images"), ("val", "val has no image")]
)
def test_a_split_of_nothing_but_damage_is_named_and_the_repaired_one_continues(
    split: str, message: str, skipping: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = {image: image.read_bytes() for image in images_of(skipping.root, split)}
    cut(whole)
    with pytest.raises(TrainingError, match=f"{message} that can be decoded; .*feedline verify .* --decode"):
        train(replace(skipping, epochs=1))
    command = ["train", "--resume", str(last(skipping))]
    assert feedline(command) == 1
    assert f"{message} that can be decoded" in re.sub(r"\s+", " ", capsys.readouterr().err)
    for image, data in whole.items():
        image.write_bytes(data)
    assert feedline(command) == 0
    (line,) = records(skipping)
    assert line["images"] == CLASSES * PER_CLASS


@pytest.mark.slow  # starts two processes that import torch
def test_ranks_leave_out_the_same_steps(skipping: TrainConfig) -> None:
    """What is too small on one rank is left out on both, which stay in step."""
    cut(image for number, image in enumerate(images_of(skipping.root, "train")) if number % 2)
    shares = [left_of_batches(skipping, rank=rank, world_size=2) for rank in range(2)]
    trained = [sum(pair) for pair in zip(*shares, strict=True) if min(pair) >= 2]
    assert 0 < len(trained) < len(shares[0])
    words = ["-m", "feedline.train", str(skipping.root), "--out", str(skipping.out), "--loader", skipping.loader]
    words += ["--epochs", "1", "--batch-size", "4", "--image-size", "32", "--stem", "imagenet", "--device", "cpu"]
    done = finished(torchrun(*words, "--workers", "0", "--on-error", "skip"))
    assert done.returncode == 0, done.stderr
    (line,) = records(skipping)
    assert (line["images"], line["step"]) == (sum(trained), len(trained))
    assert done.stderr.count("epoch 1 leaves out") == 1


def test_a_part_of_a_batch_may_be_one_image_without_batch_statistics(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--accumulate of the whole batch was halved for every model, and took twice the memory that it was to take."""
    timm = pytest.importorskip("timm")
    sizes: list[int] = []
    forward = timm.models.VisionTransformer.forward

    def counting(model: Any, images: torch.Tensor, *more: Any) -> torch.Tensor:
        sizes.append(len(images) if model.training else 0)
        return forward(model, images, *more)

    monkeypatch.setattr(timm.models.VisionTransformer, "forward", counting)
    train(replace(config, model="timm:test_vit", epochs=1, batch_size=8, accumulate=8))
    assert set(sizes) - {0} == {1}

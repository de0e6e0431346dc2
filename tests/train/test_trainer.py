"""The trainer: its steps are plain torch, its runs repeat bit for bit, and one that cannot start says so at once."""

import errno
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional
from torchvision.transforms.v2.functional import normalize, to_dtype

from feedline.cli.main import cli
from feedline.loaders import LoaderSpec, open_loader
from feedline.prep import (
    DatasetError,
    OutputError,
    TrainingError,
    read_document,
    read_manifest,
    write_document,
)
from feedline.train import TrainConfig, train
from feedline.train.checkpoint import read_checkpoint

from .runs import CLASSES, PER_CLASS, SMALL, last, make_root, records, same, weights


def test_training_and_evaluation_equal_a_plain_torch_loop(config: TrainConfig) -> None:
    """The weights after two steps and the metrics are those of the loop that everyone would write."""
    config = replace(config, epochs=1, batch_size=24, lr=0.02)
    result = train(config)

    def floats(images: torch.Tensor) -> torch.Tensor:
        return normalize(to_dtype(images, torch.float32, scale=True), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

    torch.manual_seed(config.seed)
    model = torchvision.models.resnet18(num_classes=CLASSES, zero_init_residual=True)
    norms_and_biases = [weight for name, weight in model.named_parameters() if "bn" in name or "bias" in name]
    norms_and_biases += [model.layer2[0].downsample[1].weight, model.layer3[0].downsample[1].weight]
    norms_and_biases += [model.layer4[0].downsample[1].weight]
    others = [weight for weight in model.parameters() if not any(weight is one for one in norms_and_biases)]
    groups = [{"params": others, "weight_decay": 1e-4}, {"params": norms_and_biases, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=0.02, momentum=0.9, nesterov=True)
    spec = LoaderSpec(root=config.root, batch_size=24, image_size=32, drop_last=True, seed=config.seed)
    for batch, lr in zip(open_loader("imagefolder", spec), (0.02, 0.01), strict=True):
        for group in groups:
            group["lr"] = lr
        optimiser.zero_grad()
        functional.cross_entropy(model(floats(batch.images)), batch.labels).backward()
        optimiser.step()
    trained = weights(config)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(trained[name], tensor, rtol=1e-3, atol=1e-5)

    model.load_state_dict(trained)
    model.eval()
    spec = replace(spec, split="val", transform="eval", shuffle=False, drop_last=False, batch_size=CLASSES * PER_CLASS)
    (batch,) = open_loader("imagefolder", spec)
    with torch.no_grad():
        scores = model(floats(batch.images))
    ranks = (scores > scores.gather(1, batch.labels[:, None])).sum(1)
    assert result.val is not None
    assert result.val.loss == pytest.approx(functional.cross_entropy(scores, batch.labels).item(), rel=1e-4)
    assert result.val.top1 == (ranks < 1).double().mean().item()
    assert result.val.top5 == (ranks < 5).double().mean().item()


def test_the_same_seed_gives_the_same_weights_bit_for_bit(finished: TrainConfig, config: TrainConfig) -> None:
    """Two runs agree in every bit and every metric; another seed changes them."""
    train(config)
    assert same(weights(config), weights(finished))
    assert records(config) == records(finished)
    other = replace(config, seed=1, out=config.out.with_name("other"))
    train(other)
    assert not same(weights(other), weights(finished))


def test_a_finished_run_has_its_files(finished: TrainConfig) -> None:
    """Settings, checkpoints, a record per epoch, curves and events lie in the run directory, and nothing else."""
    names = {str(path.relative_to(finished.out).as_posix()) for path in finished.out.rglob("*") if path.is_file()}
    events = {name for name in names if name.startswith("tensorboard/")}
    assert events
    assert names - events == {
        "config.json",
        "metrics.jsonl",
        "curves.png",
        "checkpoints/last.pt",
        "checkpoints/best.pt",
    }
    lines = records(finished)
    assert [line["epoch"] for line in lines] == [1, 2]
    assert [line["step"] for line in lines] == [3, 6]
    saved = read_document(finished.out / "config.json", TrainConfig)
    assert saved == replace(finished, lr=0.1 * 16 / 256, weight_decay=1e-4)
    best = read_checkpoint(finished.out / "checkpoints" / "best.pt").about.history
    assert best[-1].epoch == 1 + max(range(2), key=lambda epoch: lines[epoch]["val"]["top1"])


def test_the_learning_rate_rises_then_falls_and_the_events_tell(config: TrainConfig) -> None:
    """TensorBoard has loss and learning rate of every step, accuracy and speed of every epoch."""
    train(replace(config, warmup=0.4, lr=0.01))
    events = EventAccumulator(str(config.out / "tensorboard"))
    events.Reload()
    rates = [event.value for event in events.Scalars("step/lr")]
    cosine = [0.01 * (1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert rates == pytest.approx([0.0001, 0.00505, *cosine])
    assert len(events.Scalars("step/loss")) == 6
    for name in ("loss/train", "top1/train", "top5/train", "loss/val", "top1/val", "top5/val", "lr"):
        assert [event.step for event in events.Scalars(name)] == [3, 6]
    assert all(0 <= event.value <= 1 for event in events.Scalars("speed/data_wait"))
    assert all(event.value > 0 for event in events.Scalars("speed/images_per_second"))


def test_without_val_the_best_follows_train(config: TrainConfig, tmp_path: Path) -> None:
    """A data set without a val split trains; val is null and best.pt is the best epoch on train."""
    manifest = read_manifest(config.root)
    bare = tmp_path / "bare"
    shutil.copytree(config.root / "train", bare / "train")
    write_document(bare / "manifest.json", replace(manifest, splits={"train": manifest.splits["train"]}))
    result = train(replace(config, root=bare))
    assert result.val is None
    lines = records(config)
    assert [line["val"] for line in lines] == [None, None]
    best = read_checkpoint(result.best).about.history
    assert best[-1].epoch == 1 + max(range(2), key=lambda epoch: lines[epoch]["train"]["top1"])


def test_a_loss_that_is_not_finite_stops_the_run(config: TrainConfig) -> None:
    """A run that diverges says in which step, and leaves no checkpoint of broken weights."""
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf) in step \d of epoch 1; no epoch is saved"):
        train(replace(config, lr=1e30))
    assert not last(config).exists()


def test_a_full_disk_keeps_the_last_checkpoint(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space for a checkpoint: one sentence, and the one before is whole."""

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill(step: str, done: int, total: int) -> None:
        if step == "train epoch 2/2":
            monkeypatch.setattr(os, "fsync", no_space)

    with pytest.raises(OutputError, match=r"\.pt .*No space left on device"):
        train(config, fill)
    assert [record.epoch for record in read_checkpoint(last(config)).about.history] == [1]
    assert not list(config.out.rglob("*.partial"))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"loader": "cached"}, TrainingError, "cached.*every sample once.*imagefolder"),
        ({"loader": "nosuch"}, TrainingError, "nosuch.*unknown.*imagefolder"),
        ({"model": "vgg"}, TrainingError, "unknown model 'vgg'.*vgg1"),
        ({"batch_size": 49}, TrainingError, "smaller than one batch of 49.*--batch-size"),
        ({"device": "nosuch"}, TrainingError, "device must be a device of torch.*got 'nosuch'"),
        ({"root": Path("nowhere")}, DatasetError, "nowhere does not exist"),
    ],
)
def test_a_run_that_cannot_start_leaves_nothing(
    config: TrainConfig, change: dict, error: type[Exception], message: str
) -> None:
    """One sentence with the value and the way out, and no run directory."""
    with pytest.raises(error, match=message):
        train(replace(config, **change))
    assert not config.out.exists()


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"lr": -1.0}, {"lr": math.nan}, {"warmup": 1.0}, {"momentum": 1.0}, {"workers": -1}]
)
def test_settings_that_make_no_sense_are_refused(config: TrainConfig, wrong: dict) -> None:
    """Each is named with its value before any work begins."""
    (name,) = wrong
    with pytest.raises(TrainingError, match=f"{name} must be .*, got"):
        replace(config, **wrong)


def test_an_output_directory_with_something_else_is_refused(config: TrainConfig, finished: TrainConfig) -> None:
    """A run never writes among foreign files, over another run, or over a file."""
    with pytest.raises(
        OutputError, match=r"already holds a training run; continue it with: feedline train --resume .*last\.pt;"
    ):
        train(replace(config, out=finished.out))
    with pytest.raises(OutputError, match="continues the run in"):
        train(replace(config, resume=last(finished)))
    config.out.mkdir()
    (config.out / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"run is not empty; choose another --out"):
        train(config)
    with pytest.raises(OutputError, match=r"thesis\.txt is a file; choose another"):
        train(replace(config, out=config.out / "thesis.txt"))
    assert [path.name for path in config.out.iterdir()] == ["thesis.txt"]


def test_json_is_one_object_on_stdout(config: TrainConfig) -> None:
    """Programs read stdout: the documented keys, and nothing else there."""
    arguments = [str(config.root), "--out", str(config.out), "--epochs", "1", "--batch-size", "16"]
    arguments += ["--image-size", "32", "--loader", "imagefolder", "--workers", "0", "--device", "cpu", "--json"]
    result = CliRunner().invoke(cli, ["train", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert set(printed["train"]) == set(printed["val"]) == {"loss", "top1", "top5"}
    assert printed["images_per_second"] > 0
    assert 0 < printed["data_wait"] < 1
    assert (printed["loader"], printed["workers"], printed["classes"]) == ("imagefolder", 0, CLASSES)
    assert Path(printed["checkpoint"]) == last(config)
    assert "train epoch 1/1" in result.stderr


def test_the_command_does_not_import_torch() -> None:
    """Help and usage errors answer at once."""
    script = "import sys, feedline.cli.train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.slow
def test_training_beats_chance_by_far(tmp_path: Path) -> None:
    """Three epochs of the default recipe on ten classes of real photographs: chance is 10 %."""
    root = make_root(tmp_path, classes=10, per_class=50)
    config = TrainConfig(root=root, out=tmp_path / "run", **SMALL)
    result = train(replace(config, epochs=3, batch_size=32, image_size=64))
    assert result.val is not None
    assert result.val.top1 > 0.4

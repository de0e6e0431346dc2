"""Checkpoints: runs continue bit for bit, and a file that is hostile, damaged or foreign ends in a sentence."""

import io
import signal
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from hypothesis import given, settings, strategies as st

from feedline.prep import (
    TrainingError,
)
from feedline.train import TrainConfig, train
from feedline.train.checkpoint import About, Checkpoint, read_checkpoint
from feedline.train.history import UnfinishedEpoch

from .runs import last, make_root, records, same, weights


@pytest.mark.parametrize(
    "place",
    [
        ("train epoch 1/2", 2),
        ("train epoch 2/2", 1),
        ("train epoch 2/2", 3),
        ("val epoch 1/2", 1),
        ("val epoch 2/2", 3),
    ],
)
def test_an_interrupted_run_resumes_to_the_same_weights(
    place: tuple[str, int], finished: TrainConfig, config: TrainConfig
) -> None:
    """Ctrl-C anywhere in a run loses nothing: the resumed run ends as the uninterrupted one."""

    def interrupt(step: str, done: int, total: int) -> None:
        if (step, done) == place:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(config, interrupt)
    seen: list[tuple[str, int]] = []
    train(replace(config, resume=last(config)), lambda step, done, total: seen.append((step, done)))
    assert same(weights(config), weights(finished))
    assert records(config) == records(finished)
    # No step was taken twice. The first report is where the run goes on.
    assert not place[0].startswith("train") or place not in seen[1:]


def test_an_interrupt_in_a_step_waits_for_its_end(finished: TrainConfig, config: TrainConfig) -> None:
    """Ctrl-C half way through the model leaves a checkpoint of whole steps only."""
    calls = 0

    def interrupt(module: torch.nn.Module, inputs: object, output: object) -> None:
        nonlocal calls
        calls += module.training and isinstance(module, torchvision.models.resnet.BasicBlock)
        if calls == 12:  # of 8 blocks a step
            signal.raise_signal(signal.SIGINT)
            calls += 1

    with torch.nn.modules.module.register_module_forward_hook(interrupt), pytest.raises(KeyboardInterrupt):
        train(config)
    assert read_checkpoint(last(config)).about.running.batches == 2
    train(replace(config, resume=last(config)))
    assert same(weights(config), weights(finished))


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.target,))


def hostile(kind: str, good: bytes, target: Path) -> bytes:
    """Return what lies in the place of a checkpoint."""
    file = io.BytesIO()
    if kind == "code":
        torch.save({"about": Bomb(target)}, file)
    elif kind == "foreign":
        torch.save({"state_dict": {"weight": torch.zeros(3)}}, file)
    elif kind == "swelling":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(10_000_000))
    else:
        middle = len(good) // 2
        return {
            "empty": b"",
            "text": b"not a checkpoint\n" * 100,
            "truncated": good[:middle],
            "flipped": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        }[kind]
    return file.getvalue()


@pytest.mark.parametrize("kind", ["code", "foreign", "swelling", "empty", "text", "truncated", "flipped"])
def test_a_hostile_checkpoint_ends_in_one_sentence(kind: str, finished: TrainConfig, config: TrainConfig) -> None:
    """Whatever lies in its place, the error names the file, no code of it runs, and nothing is written."""
    path = last(config)
    path.parent.mkdir(parents=True)
    target = config.out / "executed"
    path.write_bytes(hostile(kind, last(finished).read_bytes(), target))
    with pytest.raises(TrainingError, match=r"last\.pt") as error:
        train(replace(config, resume=path))
    assert "\n" not in str(error.value)
    assert [found.name for found in config.out.rglob("*") if found.is_file()] == ["last.pt"]


@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_checkpoint_is_refused_or_reads_as_before(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any one byte changed, or any tail lost, is noticed unless it changes nothing that is read."""
    about = About(
        config=TrainConfig(root=Path("data"), out=Path("run"), stem="imagenet", device="cpu"),
        classes=("n01440764",),
        epoch_steps=1,
        running=UnfinishedEpoch(),
        history=(),
    )
    tensors = {"weight": torch.arange(4.0)}
    good = Checkpoint(about=about, model=tensors, optimiser={}, loader={"batch": 3}, scaler={}, ema=None, rng={})
    content = bytearray(good.to_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[place:]
    path = tmp_path_factory.mktemp("damaged") / "last.pt"
    path.write_bytes(content)
    try:
        read = read_checkpoint(path)
    except TrainingError as error:
        assert "last.pt" in str(error)
    else:
        assert same(read.model, tensors)
        assert (read.about, read.loader) == (about, {"batch": 3})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "resnet34"}, "with model resnet18, not resnet34"),
        ({"momentum": 0.5}, r"with momentum 0\.9, not 0\.5"),
        ({"image_size": 40}, "with image_size 32, not 40"),
        ({"epochs": 1}, "has 2 finished epochs, more than 1; use a larger --epochs"),
    ],
)
def test_resuming_with_other_settings_is_refused(finished: TrainConfig, change: dict, message: str) -> None:
    """A run goes on as it began or not at all: the error names the setting and both values."""
    path = last(finished)
    with pytest.raises(TrainingError, match=message):
        train(replace(finished, resume=path, **change))


@pytest.mark.parametrize(
    ("classes", "per_class", "message"),
    [
        (4, 12, "on 6 classes and 48 images, and .* has 4 classes and 48 images; resume with"),
        (6, 16, "on 6 classes and 48 images, and .* has 6 classes and 96 images; resume with"),
    ],
)
def test_resuming_on_other_data_is_refused(
    classes: int, per_class: int, message: str, finished: TrainConfig, tmp_path: Path
) -> None:
    """Weights of one class list or data set are never continued on another."""
    other = make_root(tmp_path, classes, per_class)
    with pytest.raises(TrainingError, match=message):
        train(replace(finished, root=other, resume=last(finished)))


def test_weights_that_do_not_fit_are_refused(finished: TrainConfig, config: TrainConfig) -> None:
    """A checkpoint that claims one architecture and holds another is found out before anything is written."""
    good = read_checkpoint(last(finished))
    path = last(config)
    path.parent.mkdir(parents=True)
    path.write_bytes(replace(good, model={**good.model, "conv1.weight": torch.zeros(1)}).to_bytes())
    with pytest.raises(TrainingError, match=r"last\.pt does not hold the state of a resnet18"):
        train(replace(config, resume=path))


def test_a_finished_run_resumes_to_its_result(finished: TrainConfig) -> None:
    """Resuming what is done trains nothing and reports the same."""
    before = weights(finished)
    seen: list[str] = []
    result = train(replace(finished, resume=last(finished)), lambda step, done, total: seen.append(step))
    assert seen == []
    assert same(weights(finished), before)
    assert result.val is not None
    assert result.val.top1 == records(finished)[-1]["val"]["top1"]

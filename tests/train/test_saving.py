"""A run that is ended, killed or out of room: what it had finished is kept, and it goes on to the same weights."""

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from feedline.cli.main import run as feedline
from feedline.loaders import LOADERS
from feedline.prep import LoaderUnavailable, OutputError
from feedline.train import TrainConfig, train
from feedline.train.checkpoint import read_checkpoint
from feedline.train.journal import Journal

from ..processes import started
from .runs import last


@pytest.fixture
def config(root: Path, tmp_path: Path) -> TrainConfig:
    """Return two epochs of three steps with every state that a checkpoint can hold."""
    size = {"epochs": 2, "batch_size": 28, "image_size": 32, "stem": "imagenet"}
    recipe = {"optimiser": "adamw", "schedule": "step", "lr": 1e-3, "ema": 0.5, "clip": 1.0, "accumulate": 2}
    return TrainConfig(root=root, out=tmp_path / "run", loader="imagefolder", workers=0, device="cpu", **size, **recipe)


def same_state(a: Path, b: Path) -> bool:
    """Return whether model and average are equal in every bit."""
    one, other = read_checkpoint(a), read_checkpoint(b)
    assert one.ema is not None
    assert other.ema is not None
    return all(torch.equal(tensor, other.model[name]) for name, tensor in one.model.items()) and all(
        torch.equal(tensor, other.ema[name]) for name, tensor in one.ema.items()
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_place_with_all_of_its_state(number: signal.Signals, config: TrainConfig) -> None:
    """Ctrl-C and SIGTERM are the same; AdamW, the average and the schedule continue bit for bit."""
    whole = replace(config, out=config.out.with_name("whole"))
    train(whole)

    def interrupt(step: str, done: int, total: int) -> None:
        if (step, done) == ("train epoch 2/2", 1):
            signal.raise_signal(number)

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        train(config, interrupt)
    assert signal.getsignal(number) is before
    assert read_checkpoint(last(config)).about.running.batches == 1
    train(replace(config, resume=last(config)))
    assert same_state(last(config), last(whole))


@pytest.mark.parametrize("loader", [name for name, entry in LOADERS.items() if entry.covers_epoch])
def test_every_loader_resumes_to_the_same_weights(loader: str, config: TrainConfig) -> None:
    """Stopped in mid-epoch, with loader workers: the next batch is the very next one, bit for bit."""
    whole = replace(config, loader=loader, workers=2, epochs=1, out=config.out.with_name("whole"))
    try:
        train(whole)
    except LoaderUnavailable as error:
        pytest.skip(str(error))

    def interrupt(step: str, done: int, total: int) -> None:
        if (step, done) == ("train epoch 1/1", 2):
            signal.raise_signal(signal.SIGINT)

    cut = replace(whole, out=config.out)
    with pytest.raises(KeyboardInterrupt):
        train(cut, interrupt)
    train(replace(cut, resume=last(cut)))
    assert same_state(last(cut), last(whole))


def test_the_generators_are_saved_and_left_alone(config: TrainConfig) -> None:
    """The checkpoint has torch's generator as the run left it; the caller's own is where it was."""
    before = torch.get_rng_state()
    train(replace(config, epochs=1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(config.seed)
    saved = read_checkpoint(last(config)).rng["cpu"]
    assert saved.shape == before.shape
    assert not torch.equal(saved, before)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(config: TrainConfig) -> None:
    """kill -9 in mid-epoch, with --save-steps 1: the resumed run ends as one that was never touched."""
    config = replace(config, epochs=6)
    whole = replace(config, out=config.out.with_name("whole"))
    train(whole)
    words = ["train", str(config.root), "--out", str(config.out), "--loader", "imagefolder", "--workers", "0"]
    words += ["--epochs", "6", "--batch-size", "28", "--image-size", "32", "--stem", "imagenet", "--device", "cpu"]
    words += ["--optimiser", "adamw", "--schedule", "step", "--lr", "1e-3", "--ema", "0.5", "--clip", "1"]
    words += ["--accumulate", "2", "--save-steps", "1"]
    program = "import sys; from feedline.cli.main import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", program, *words]
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not last(config).is_file() and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        process.wait()
    done = read_checkpoint(last(config)).about
    assert (len(done.history), done.running.batches) != (6, 0)  # it was killed on the way
    assert feedline([*words, "--resume", str(last(config))]) == 0
    assert same_state(last(config), last(whole))


def test_checkpoints_are_kept_every_so_many_epochs(config: TrainConfig) -> None:
    """--save-epochs 2 keeps epoch-0002.pt and epoch-0004.pt, each as that epoch ended."""
    train(replace(config, epochs=5, save_epochs=2))
    names = sorted(path.name for path in (config.out / "checkpoints").iterdir())
    assert names == ["best.pt", "epoch-0002.pt", "epoch-0004.pt", "last.pt"]
    for epoch in (2, 4):
        about = read_checkpoint(config.out / "checkpoints" / f"epoch-{epoch:04d}.pt").about
        assert (len(about.history), about.running.batches) == (epoch, 0)


def test_the_last_checkpoint_follows_every_so_many_steps(config: TrainConfig) -> None:
    """--save-steps 2: after the steps 2, 4 and 6 it holds (finished epochs, batches of the next one)."""
    found = []

    def look(step: str, done: int, total: int) -> None:
        if step.startswith("train") and done:  # 0: the epoch begins
            about = read_checkpoint(last(config)).about if last(config).is_file() else None
            found.append(None if about is None else (len(about.history), about.running.batches))

    train(replace(config, save_steps=2), look)
    assert found == [None, (0, 2), (0, 2), (1, 1), (1, 1), (1, 3)]


def test_tensorboard_shows_the_graph_and_the_images(config: TrainConfig) -> None:
    """The model's layers, and the first images as they are trained on."""
    train(replace(config, epochs=1))
    events = EventAccumulator(str(config.out / "tensorboard"))
    events.Reload()
    nodes = {node.name for node in events.Graph().node}
    assert any("layer4" in name and "conv2" in name for name in nodes)
    assert [shown.step for shown in events.Images("images/train")] == [0]


def test_events_that_cannot_be_written_end_in_one_sentence(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up while TensorBoard writes: the directory and the way out are named."""

    class Full:
        def __getattr__(self, name: str) -> object:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    original = Journal.add_model

    def fill(self: Journal, *arguments: object) -> None:
        original(self, *arguments)
        self._events = Full()

    monkeypatch.setattr(Journal, "add_model", fill)
    with pytest.raises(
        OutputError,
        match=r"cannot write to .*run: No space left on device \(.* free without the unfinished file\); "
        "make room there, then start the run again",
    ):
        train(config)
    monkeypatch.undo()
    assert list((config.out / "checkpoints").iterdir()) == []
    train(replace(config, epochs=1))  # what the sentence advises
    assert len(list((config.out / "tensorboard").iterdir())) == 1

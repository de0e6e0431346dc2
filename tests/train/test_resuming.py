"""A run that ended early continues with its checkpoint alone, with more epochs, other batches or other ranks."""

import errno
import json
import math
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import click
import pytest
import torch

from feedline.cli.main import run as feedline
from feedline.prep import OutputError, SampleError, TrainingError, prepare_imagefolder, read_document
from feedline.prep.base.lock import claimed
from feedline.train import TrainConfig, train
from feedline.train.checkpoint import read_checkpoint
from feedline.train.journal import Journal
from feedline.train.ranks import Ranks

from .runs import CLASSES, PER_CLASS, last, records, same, weights


def stop_at(place: tuple[str, int]) -> object:
    """Return a progress that interrupts the run after a step."""

    def interrupt(step: str, done: int, total: int) -> None:
        if (step, done) == place:
            signal.raise_signal(signal.SIGINT)

    return interrupt


def damage(config: TrainConfig, where: Path) -> TrainConfig:
    """Return the config on a copy of its root in which one train image is cut."""
    shutil.copytree(config.root, where)
    image = sorted((where / "train").rglob("*.JPEG"))[5]
    image.write_bytes(image.read_bytes()[:100])
    return replace(config, root=where)


def test_the_checkpoint_alone_continues_the_run(
    finished: TrainConfig, config: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    """The advice after an interruption is a whole command; with it, the run ends as one that was never touched."""
    with pytest.raises(KeyboardInterrupt):
        train(config, stop_at(("train epoch 2/2", 2)))  # type: ignore[arg-type]
    assert feedline(["train", "--resume", str(last(config)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 2
    assert same(weights(config), weights(finished))
    assert records(config) == records(finished)


def test_the_advice_is_the_command(config: TrainConfig, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """An image that cannot be decoded ends the run with its place saved, and the advised command continues it."""
    broken = damage(config, tmp_path / "bro ken")
    words = ["train", str(broken.root), "--out", str(config.out), "--epochs", "1", "--batch-size", "4"]
    words += ["--image-size", "32", "--loader", "imagefolder", "--workers", "0", "--device", "cpu"]
    assert feedline(words) == 1
    told = capsys.readouterr().err
    assert "cannot decode" in told
    assert f"continue with: feedline train --resume {last(config)}" in told
    done = read_checkpoint(last(config)).about
    assert feedline(["train", "--resume", str(last(config)), "--on-error", "skip"]) == 0
    told = capsys.readouterr().err
    assert "1 image could not be decoded and was left out" in told
    (line,) = records(config)
    assert line["images"] == CLASSES * PER_CLASS - 1
    assert done.running.batches < 12


def test_an_error_saves_the_place(config: TrainConfig, tmp_path: Path) -> None:
    """Without --on-error skip, the checkpoint has the steps before the damaged image."""
    broken = damage(config, tmp_path / "broken")
    with pytest.raises(SampleError):
        train(replace(broken, batch_size=4, epochs=1))
    about = read_checkpoint(last(config)).about
    assert about.history == ()
    assert about.running.sums.images == 4 * about.running.batches


def test_an_error_behind_a_step_saves_that_step_with_its_place(
    finished: TrainConfig, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights and place in the data are saved together: the resumed run takes no step twice."""

    def fail(self: Journal, *arguments: object) -> None:
        raise RuntimeError("no graph of this model")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "add_model", fail)
        with pytest.raises(RuntimeError, match="no graph of this model"):
            train(config)
    assert read_checkpoint(last(config)).about.running.batches == 1
    train(replace(config, resume=last(config)))
    assert same(weights(config), weights(finished))


def test_left_out_images_may_leave_fewer_than_the_parts(config: TrainConfig, tmp_path: Path) -> None:
    """A batch of 8 in 4 parts that loses half of its images is computed in fewer parts, and counted."""
    root = tmp_path / "broken"
    shutil.copytree(config.root, root)
    for image in sorted((root / "train").rglob("*.JPEG"))[::2]:
        image.write_bytes(image.read_bytes()[:100])
    broken = replace(config, root=root, batch_size=8, accumulate=4, epochs=1, on_error="skip")
    result = train(broken)
    assert result.skipped == CLASSES * PER_CLASS // 2
    assert math.isfinite(result.train.loss)
    (line,) = records(config)
    assert line["images"] == CLASSES * PER_CLASS // 2


def test_more_epochs_continue_a_finished_run(config: TrainConfig) -> None:
    """Two epochs more: the first two stay as they were, and the rate is that of the longer run."""
    train(config)
    before = records(config)
    train(replace(config, epochs=4, resume=last(config)))
    lines = records(config)
    assert lines[:2] == before
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    with pytest.raises(TrainingError, match="4 finished epochs, more than 3; use a larger --epochs"):
        train(replace(config, epochs=3, resume=last(config)))


@pytest.mark.parametrize("loader", ["threaded", "imagefolder"])
def test_another_batch_size_uses_each_sample_once(loader: str, config: TrainConfig) -> None:
    """Stopped after 2 of 3 batches of 16, continued with batches of 8: the last 16 images, in 2 steps."""
    config = replace(config, loader=loader)
    with pytest.raises(KeyboardInterrupt):
        train(config, stop_at(("train epoch 1/2", 2)))  # type: ignore[arg-type]
    changed = replace(config, batch_size=8, resume=last(config))
    if loader == "imagefolder":  # which resumes with the same batches only, and says so
        with pytest.raises(Exception, match="batch_size"):
            train(changed)
        return
    said: list[str] = []
    train(changed, notice=said.append)
    assert any("a step now takes 8 images instead of 16; the learning rate stays" in sentence for sentence in said)
    first, second = records(config)
    assert (first["images"], first["step"]) == (48, 4)
    assert (second["images"], second["step"]) == (48, 10)


def test_another_data_set_is_refused_with_the_one_that_it_began_with(config: TrainConfig, tmp_path: Path) -> None:
    """A root with fewer images is another data set; the message names the root of the run."""
    train(replace(config, epochs=1))
    other = tmp_path / "other"
    shutil.copytree(config.root, other)
    manifest = json.loads((other / "manifest.json").read_text())
    victim = next((other / "train").rglob("*.JPEG"))
    victim.unlink()
    split = manifest["splits"]["train"]
    split["per_class"][sorted(path.name for path in (other / "train").iterdir()).index(victim.parent.name)] -= 1
    split["images"] -= "images" in split
    (other / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TrainingError, match=rf"48 images, and .* has 6 classes and 47 images.*{config.root}"):
        train(replace(config, root=other, resume=last(config)))


def test_two_processes_never_write_one_run(config: TrainConfig) -> None:
    """While one trains, the other is told which process holds the run."""
    train(replace(config, epochs=1))
    with claimed(config.out, "train"), pytest.raises(OutputError, match=r"is being written by feedline train, process"):
        train(replace(config, resume=last(config)))


def test_a_full_disk_at_the_first_checkpoint_names_no_file_that_is_not_there(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first checkpoint there is nothing to resume: the next step is to start again."""

    def fill(step: str, done: int, total: int) -> None:
        if step.startswith("val"):
            monkeypatch.setattr(os, "fsync", no_space)

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match="start the run again, as it has no checkpoint yet"):
        train(config, fill)


def test_settings_that_change_the_model_are_refused(config: TrainConfig) -> None:
    """The message has the value of the run, and the command that continues it."""
    train(replace(config, epochs=1))
    with pytest.raises(TrainingError, match=r"with image_size 32, not 40; .*feedline train --resume .*last\.pt"):
        train(replace(config, image_size=40, resume=last(config)))


def test_the_command_line_has_every_setting(config: TrainConfig) -> None:
    """What TrainConfig has, the command has, apart from the values that it works out."""
    from dataclasses import fields

    from feedline.cli.train import train as command

    assert {field.name for field in fields(TrainConfig)} <= {option.name for option in command.params}


def test_every_option_stands_under_one_heading_of_the_help() -> None:
    """Once each, and none under the heading of what was forgotten."""
    from click.testing import CliRunner

    from feedline.cli.main import cli
    from feedline.cli.train import train as command
    from feedline.cli.training.headings import HEADINGS, OTHER

    shown = CliRunner().invoke(cli, ["train", "--help"]).output.splitlines()
    shown = shown[shown.index(f"{next(iter(HEADINGS))}:") :]
    headings = [line.removesuffix(":") for line in shown if line and line[0] != " " and line.endswith(":")]
    listed = [line.split()[0].strip(",") for line in shown if line.startswith("  -")]
    options = [option for option in command.params if isinstance(option, click.Option)]

    assert headings == list(HEADINGS)
    assert OTHER not in shown
    assert sorted(listed) == sorted(["-h", *(option.opts[0] for option in options)])


def test_a_rank_alone_adds_nothing_up() -> None:
    """One process returns the numbers as they are."""
    assert Ranks().total([1.0, 2.5]) == [1.0, 2.5]


def test_the_saved_settings_have_the_root_that_was_used(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that began with a relative root is continued from another directory."""
    monkeypatch.chdir(config.root.parent)
    train(replace(config, root=Path("data"), epochs=1))
    monkeypatch.chdir(config.out)
    assert feedline(["train", "--resume", "checkpoints/last.pt", "--epochs", "2"]) == 0
    assert len(records(config)) == 2
    assert read_document(config.out / "config.json", TrainConfig).root == config.root
    torch.testing.assert_close(weights(config)["fc.bias"].shape, torch.Size([CLASSES]))


@pytest.mark.parametrize("comes", [True, False])
def test_a_val_split_may_come_or_go_between_two_parts_of_a_run(
    comes: bool, config: TrainConfig, tmp_path: Path
) -> None:
    """The curves of each split have its own epochs; it was an error that no resume could pass."""
    shutil.copytree(config.root / "train", tmp_path / "images")
    without = tmp_path / "data"
    prepare_imagefolder([tmp_path / "images"], without)
    first, second = (without, config.root) if comes else (config.root, without)
    begun = replace(config, root=first, epochs=1)
    train(begun)
    train(replace(begun, root=second, epochs=2, resume=last(begun)))
    assert [record["val"] is not None for record in records(begun)] == [not comes, comes]
    assert (config.out / "curves.png").is_file()

"""What ``--resume`` continues, and what it says when there is nothing to continue or nothing to continue with."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from feedline.cli.main import run as feedline
from feedline.prep import TrainingError, read_document, read_manifest, write_document
from feedline.train import TrainConfig, train

from .runs import last, weights
from .test_resuming import same, stop_at


@pytest.fixture
def done(finished: TrainConfig, tmp_path: Path) -> TrainConfig:
    """Return the settings of a finished run that a test may change."""
    shutil.copytree(finished.out, tmp_path / "done")
    return replace(finished, out=tmp_path / "done")


def told(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    assert feedline(words) == code
    return " ".join(capsys.readouterr().err.split())


def test_a_finished_run_trains_nothing_and_keeps_its_settings(
    done: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither rate nor workers were used, so config.json does not name them; and the advised command goes on."""
    before = (done.out / "config.json").read_bytes()
    state = last(done).read_bytes()
    words = ["train", "--resume", str(last(done))]
    text = told([*words, "--lr", "5", "--workers", "1"], 0, capsys)
    command = f"feedline train --resume {last(done)} --epochs 3"
    assert f"is finished, and nothing is trained; continue it with: {command}" in text
    assert (done.out / "config.json").read_bytes() == before
    assert last(done).read_bytes() == state
    assert "is finished" not in told([*words, "--epochs", "3"], 0, capsys)
    assert json.loads((done.out / "config.json").read_text())["epochs"] == 3


def test_weights_to_begin_from_are_refused_beside_resume(done: TrainConfig, capsys: pytest.CaptureFixture[str]) -> None:
    text = told(["train", "--resume", str(last(done)), "--init", str(last(done))], 2, capsys)
    assert "leave out --init" in text
    with pytest.raises(TrainingError, match="leave out --init"):
        train(replace(done, resume=last(done), init=last(done), epochs=3))


def test_a_resumed_run_keeps_the_record_of_its_first_weights(finished: TrainConfig, config: TrainConfig) -> None:
    """Also if the settings that continue it do not name them again."""
    begun = replace(config, init=last(finished))
    with pytest.raises(KeyboardInterrupt):
        train(begun, stop_at(("train epoch 2/2", 2)))  # type: ignore[arg-type]
    train(replace(config, resume=last(begun)))
    assert read_document(begun.out / "config.json", TrainConfig).init == last(finished)


@pytest.mark.parametrize("options", [[], ["--out", "new"], ["--epochs", "3"]])
def test_a_checkpoint_outside_of_a_run_says_where_it_must_lie(
    options: list[str], done: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "only" / "last.pt"
    alone.parent.mkdir()
    shutil.copy(last(done), alone)
    options = [str(tmp_path / word) if word == "new" else word for word in options]
    text = told(["train", "--resume", str(alone), *options], 1, capsys)
    assert f"move it to RUN/checkpoints/, or begin a new run from its weights with --init {alone}" in text
    home = tmp_path / "home" / "checkpoints"
    home.mkdir(parents=True)
    alone.rename(home / "last.pt")
    assert feedline(["train", "--resume", str(home / "last.pt"), "--epochs", "3"]) == 0


def test_a_run_whose_data_moved_goes_on_where_it_is_now(
    config: TrainConfig, finished: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(config.root, old)
    with pytest.raises(KeyboardInterrupt):
        train(replace(config, root=old), stop_at(("train epoch 2/2", 2)))  # type: ignore[arg-type]
    old.rename(new)
    words = ["--resume", str(last(config))]
    for more in ([], ["--dry-run"]):
        text = told(["train", *words, *more], 1, capsys)
        assert f"data set {old} is not there" in text
        assert f"feedline train ROOT --resume {last(config)}" in text
    assert feedline(["train", str(new), *words]) == 0
    assert same(weights(config), weights(finished))


@pytest.mark.parametrize("loader", ["threaded", "imagefolder", "webdataset"])
def test_a_root_that_is_not_there_is_named_itself(
    loader: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not its shards, which no command could make."""
    root = tmp_path / "nowhere"
    words = ["train", str(root), "--out", str(tmp_path / "out"), "--loader", loader, "--device", "cpu"]
    assert f"{root} does not exist; make it with: feedline prep imagefolder" in told(words, 1, capsys)


def test_without_val_the_run_says_what_is_called_best(config: TrainConfig, tmp_path: Path) -> None:
    root = tmp_path / "trainonly"
    shutil.copytree(config.root, root)
    manifest = read_manifest(root)
    splits = {name: split for name, split in manifest.splits.items() if name == "train"}
    write_document(root / "manifest.json", replace(manifest, splits=splits))
    said: list[str] = []
    train(replace(config, root=root, epochs=1), notice=said.append)
    assert sum("best.pt is the epoch with the best top-1 on train" in sentence for sentence in said) == 1


@pytest.mark.parametrize(("before", "after"), [(4, 7), (4, 10), (7, 4), (10, 16), (9, 5)])
def test_the_steps_to_come_are_counted_exactly_after_other_batches(
    before: int, after: int, config: TrainConfig
) -> None:
    """The last step of the epoch ends its progress, whatever the batches before it were."""
    config = replace(config, loader="threaded", epochs=1)
    with pytest.raises(KeyboardInterrupt):
        train(replace(config, batch_size=before), stop_at(("train epoch 1/1", 3)))  # type: ignore[arg-type]
    seen: list[tuple[int, int]] = []
    train(
        replace(config, batch_size=after, resume=last(config)),
        lambda step, done, total: seen.append((done, total)) if step == "train epoch 1/1" else None,
    )
    steps = 3 + (48 - 3 * before) // after
    assert seen[-1] == (steps, steps)
    assert {total for _, total in seen} == {steps}

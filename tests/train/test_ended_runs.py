"""What a run that ended early leaves: what the next one continues, what it refuses, and what both advise."""

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from feedline.cli.main import run as feedline
from feedline.prep import OutputError, TrainingError
from feedline.train import TrainConfig, resume_command, train
from feedline.train.checkpoint import read_checkpoint
from feedline.train.engine import Learner
from feedline.train.metrics import NotFinite
from feedline.train.ranks import LostRank, Ranks

from .runs import last, weights

WORDS = ("--epochs", "2", "--batch-size", "16", "--image-size", "32", "--stem", "imagenet", "--loader", "imagefolder")


def words(config: TrainConfig, *more: str) -> list[str]:
    return ["train", str(config.root), "--out", str(config.out), *WORDS, "--workers", "0", "--device", "cpu", *more]


def stop_at(place: tuple[str, int]) -> object:
    """Return a progress that interrupts the run after a step."""

    def interrupt(step: str, done: int, total: int) -> None:
        if (step, done) == place:
            signal.raise_signal(signal.SIGINT)

    return interrupt


@pytest.fixture
def copied(finished: TrainConfig, config: TrainConfig) -> TrainConfig:
    """Return the settings of a finished run that a test may change."""
    shutil.copytree(finished.out, config.out)
    return config


def test_ranks_that_are_started_again_continue_no_other_run(
    copied: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of another time in the same folder is refused, as when the ranks were first started."""
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    with pytest.raises(OutputError, match="already holds a training run"):
        train(copied)


def test_ranks_that_are_started_again_do_not_go_back_to_the_resumed_checkpoint(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They continue what they have saved since, and --resume epoch-0001.pt itself until then."""
    train(replace(config, save_epochs=1))
    began: list[int] = []

    def note(step: str, done: int, total: int) -> None:
        if step == "train epoch 2/2":
            began.append(done)

    back = replace(config, save_epochs=1, resume=config.out / "checkpoints" / "epoch-0001.pt")
    for attempt in ("1", "0"):  # nothing is saved by this torchrun before the first of them
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", attempt)
        with pytest.raises(KeyboardInterrupt):
            train(back, stop_at(("train epoch 2/2", 1)))  # type: ignore[arg-type]
        monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT")
        assert read_checkpoint(last(config)).about.running.batches == 1
        if attempt == "1":
            last(config).unlink()
            (config.out / "checkpoints" / "best.pt").unlink()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    said: list[str] = []
    train(back, note, said.append)
    assert began[0] == 1
    assert any(f"they continue from {last(config)}" in sentence for sentence in said)


def test_weights_that_are_not_finite_replace_no_checkpoint(
    copied: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another error ends the run behind the step that broke them, before their loss is read."""
    original = Learner.step

    def breaking(self: Learner, *arguments: object, **settings: object) -> torch.Tensor:
        sums = original(self, *arguments, **settings)  # type: ignore[arg-type]
        with torch.no_grad():
            next(self.model.parameters()).fill_(torch.nan)
        return sums

    def fail(step: str, done: int, total: int) -> None:
        if done == 1:
            raise RuntimeError("another error")

    monkeypatch.setattr(Learner, "step", breaking)
    longer = replace(copied, epochs=3, resume=last(copied))
    with pytest.raises(RuntimeError, match="another error"):
        train(longer, fail)
    with pytest.raises(NotFinite, match=r"weights are no longer finite in step 1 of epoch 3; epoch 2 is saved in .*pt"):
        train(replace(longer, save_steps=1))
    assert all(tensor.isfinite().all() for tensor in weights(copied).values())
    assert len(read_checkpoint(last(copied)).about.history) == 2


def test_a_loss_that_is_not_finite_is_no_reason_to_continue(
    config: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one advice is a smaller learning rate, although --save-steps has saved a step."""
    assert feedline(words(config, "--lr", "1e30", "--warmup", "0", "--save-steps", "1")) == 1
    told = capsys.readouterr().err
    assert "train again with an --lr smaller than 1e+30" in told
    assert "the run is saved" not in told


def test_the_other_ranks_know_that_a_loss_was_not_finite() -> None:
    """So that they save nothing, and advise nothing else. A path that is not UTF-8 does not hide the error."""
    store = dist.HashStore()
    ranks = [Ranks(rank=rank, size=3, store=store) for rank in range(3)]
    ranks[2].announce_end(OutputError("cannot write caf\udce9"))
    with pytest.raises(LostRank, match=r"rank 2 ended \(cannot write caf\?\)") as ended, ranks[0].lost_rank_named():
        raise RuntimeError("gloo: connection closed")
    assert not ended.value.diverged
    ranks[1].announce_end(NotFinite("the loss became nan", 7))
    with pytest.raises(LostRank, match=r"rank 1 ended \(the loss became nan\)") as ended, ranks[0].lost_rank_named():
        raise RuntimeError("gloo: connection closed")
    assert ended.value.diverged


def test_a_run_that_was_killed_while_it_first_saved_can_be_started_again(config: TrainConfig) -> None:
    """It left half a checkpoint, which is not resumed and does not stay."""
    with pytest.raises(KeyboardInterrupt):
        train(config, stop_at(("train epoch 1/2", 1)))  # type: ignore[arg-type]
    last(config).rename(last(config).with_name("last.pt.partial"))
    (config.out / "config.json.partial").write_text("{")
    train(replace(config, epochs=1))
    assert sorted(path.name for path in last(config).parent.iterdir()) == ["best.pt", "last.pt"]


def test_a_run_that_was_killed_between_two_files_continues_from_the_first(
    copied: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    """best.pt is written before last.pt: it is what a second run in the folder is pointed to."""
    last(copied).unlink()
    best = last(copied).with_name("best.pt")
    epochs = len(read_checkpoint(best).about.history)
    assert feedline(words(copied)) == 1
    assert f"continue it with: feedline train --resume {best}; or choose another --out" in capsys.readouterr().err
    assert feedline(["train", "--resume", str(best), "--epochs", "3"]) == 0
    assert len(read_checkpoint(last(copied)).about.history) == 3 > epochs


def test_a_plan_says_that_the_folder_is_refused(copied: TrainConfig, capsys: pytest.CaptureFixture[str]) -> None:
    """--dry-run writes nothing there, and reports what would end the run."""
    before = sorted(copied.out.rglob("*"))
    assert feedline(words(copied, "--dry-run")) == 0
    told = capsys.readouterr().err
    assert f"the run would end at its start: {copied.out} already holds a training run" in told
    assert sorted(copied.out.rglob("*")) == before
    assert feedline(["train", "--resume", str(last(copied)), "--epochs", "3", "--dry-run"]) == 0
    assert "would end at its start" not in capsys.readouterr().err


def test_an_error_of_code_in_a_folder_named_optim_saves_the_place(config: TrainConfig) -> None:
    """Only errors inside the update of the weights leave them half changed."""
    code = "def fail(step, done, total):\n    if done == 1: raise RuntimeError('of the caller')\n"
    found: dict = {}
    exec(compile(code, "/home/user/optim/loop.py", "exec"), found)
    with pytest.raises(RuntimeError, match="of the caller"):
        train(config, found["fail"])
    assert read_checkpoint(last(config)).about.running.batches == 1


def test_a_resumed_run_reads_its_tensors_once(copied: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings are read without them: a checkpoint may have gigabytes."""
    original, read = torch.load, []

    def load(*arguments: object, **settings: object) -> object:
        read.append(not settings.get("mmap"))
        return original(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(torch, "load", load)
    assert feedline(["train", "--resume", str(last(copied)), "--epochs", "3"]) == 0
    assert sum(read) == 1


@pytest.mark.parametrize(
    ("size", "local_size", "program"),
    [
        ("1", "1", "feedline train"),
        ("4", "4", "torchrun --nproc-per-node=4 -m feedline.train"),
        ("4", "", "torchrun --nproc-per-node=4 -m feedline.train"),
        (
            "8",
            "4",
            "torchrun --nnodes=2 --rdzv-backend=c10d --rdzv-endpoint=HOST:PORT --nproc-per-node=4 -m feedline.train",
        ),
    ],
)
def test_the_advised_command_starts_as_many_ranks(
    size: str, local_size: str, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On each of several nodes, those of the node."""
    for name, value in (("WORLD_SIZE", size), ("LOCAL_WORLD_SIZE", local_size), ("RANK", "0")):
        monkeypatch.setenv(name, value)
    assert resume_command(Path("my run/last.pt")) == f"{program} --resume 'my run/last.pt'"


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_torch_does_not_take_is_refused(seed: int) -> None:
    with pytest.raises(TrainingError, match=f"seed must be at least 0 and less than 2\\*\\*63, got {seed}"):
        TrainConfig(root=Path("data"), out=Path("run"), seed=seed)

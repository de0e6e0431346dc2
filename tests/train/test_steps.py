"""Training steps do not wait for the device, and what they count is read one step late or at a log point."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from feedline.prep import TrainingError
from feedline.train import TrainConfig, train
from feedline.train.metrics import NotFinite, batch_sums
from feedline.train.tally import StepClock, Tally
from feedline.train.trainer import LOG_STEPS

READS = ("item", "tolist", "cpu", "__bool__", "__float__", "__int__")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Return the counts of the reads of a tensor's value, each of which waits on a GPU for all work before it."""
    counts = dict.fromkeys(READS, 0)

    def counted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def read(self: torch.Tensor, *arguments: Any) -> Any:
            if self.dtype != torch.int64:  # the loader's indexes and torch's step counts lie on the CPU
                counts[name] += 1
            return original(self, *arguments)

        return read

    for name in READS:
        monkeypatch.setattr(torch.Tensor, name, counted(name, getattr(torch.Tensor, name)))
    return counts


AUGMENTED = {"colour_jitter": 0.4, "augment": "trivial", "erase": 0.5, "mixup": 0.2, "cutmix": 1.0, "loss": "bce"}


@pytest.mark.parametrize("recipe", [{}, {"clip": 1.0, "label_smoothing": 0.1, "accumulate": 2}, AUGMENTED])
def test_no_step_reads_a_value_from_the_device(recipe: dict, config: TrainConfig, reads: dict[str, int]) -> None:
    """Between two log points, no tensor's value is read: a GPU would stand still at each.

    The moving average is left out: torch's own reads its step count, which lies on the CPU.
    """
    seen: list[tuple[int, int]] = []

    def watch(step: str, done: int, total: int) -> None:
        if step.startswith("train"):
            seen.append((done, sum(reads.values())))

    config = replace(config, batch_size=2, optimiser="sgd", epochs=1, **recipe)
    if "accumulate" in recipe:
        config = replace(config, batch_size=4)
    train(config, watch)
    counts = dict(seen)
    # The first step has the journal copy an image and the model; the log point after LOG_STEPS may read.
    last = min(LOG_STEPS, max(counts)) - 1
    assert last > 5
    assert counts[last] == counts[1]


def test_a_loss_that_is_not_finite_is_named_one_step_late() -> None:
    """The step with the bad loss is named by its number, when the next step has been added."""
    tally = Tally("cpu")
    labels = torch.zeros(4, dtype=torch.int64)
    tally.add(7, batch_sums(torch.full((4, 3), float("nan")), labels))
    with pytest.raises(NotFinite, match="the loss became nan") as raised:
        tally.add(8, batch_sums(torch.zeros(4, 3), labels))
    assert raised.value.step == 7


def test_a_tally_returns_the_sums_of_every_step_once() -> None:
    """Images, loss and hits of each step, in order, and nothing twice."""
    tally = Tally("cpu")
    for images in (4, 2, 3):
        tally.add(images, batch_sums(torch.eye(8)[:images], torch.arange(images)))
    taken = tally.take()
    assert [(sums.images, sums.top1, sums.top5) for sums in taken] == [(4, 4, 4), (2, 2, 2), (3, 3, 3)]
    loss = torch.nn.functional.cross_entropy(torch.eye(8)[:2], torch.arange(2), reduction="sum")
    assert taken[1].loss == pytest.approx(loss.item())
    assert tally.take() == []


def test_the_clock_adds_up_waits_and_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds before each step are waiting, seconds inside are work, and what was taken counts once."""
    times = iter([0.0, 10.0, 11.0, 13.0, 13.5, 14.5, 20.0])
    monkeypatch.setattr("feedline.train.tally.perf_counter", lambda: next(times))
    clock = StepClock("cpu")
    clock.start()
    for _ in range(2):
        clock.begin_step()
        clock.end_step()
    assert clock.take() == (1.5, 3.0)
    assert clock.take() == (0, 0)


@pytest.mark.parametrize(("batch", "parts"), [(1, 1), (3, 2), (4, 4)])
def test_a_single_image_in_front_of_batch_norm_is_refused(batch: int, parts: int, config: TrainConfig) -> None:
    """A batch of one, or a part of one, is refused before the first step, with the option to change."""
    with pytest.raises(TrainingError, match=r"a single image into BatchNorm.*(--accumulate|--batch-size 2)"):
        train(replace(config, batch_size=batch, accumulate=parts))
    assert not (config.out / "checkpoints").exists()

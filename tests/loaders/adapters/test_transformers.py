"""Transformers' Trainer on a root: epochs, evaluation, and a checkpoint in mid-epoch."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from feedline.loaders import Loader, LoaderSpec, open_loader
from feedline.prep import LoaderError

transformers: Any = pytest.importorskip("transformers")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]

FIELDS: dict[str, Any] = {"batch_size": 10, "image_size": 16, "seed": 5}


class Model(torch.nn.Module):
    """Keeps a sum over the pixels of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 4)
        self.seen: list[int] = []

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.training:
            self.seen.append(int(pixel_values.sum()))
        logits = self.layer(pixel_values.float().mean((2, 3)) / 255)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


@pytest.fixture
def trainer(root: Path, tmp_path: Path, opened: list[Loader]) -> Callable[..., Any]:
    """Makes Trainers."""
    from feedline.loaders.adapters.transformers import FeedlineTrainer

    def makes(**options: Any) -> Any:
        train = open_loader("threaded", LoaderSpec.train(root, **FIELDS))
        val = open_loader("threaded", LoaderSpec.eval(root, **FIELDS))
        opened.extend((train, val))
        arguments = transformers.TrainingArguments(
            tmp_path / "out",
            use_cpu=True,
            disable_tqdm=True,
            report_to="none",
            dataloader_pin_memory=False,
            **{
                "per_device_train_batch_size": 10,
                "per_device_eval_batch_size": 10,
                "num_train_epochs": 2,
                "save_strategy": "no",
                **options,
            },
        )
        found: list[torch.Tensor] = []

        def metrics(predictions: Any) -> dict[str, float]:
            found.append(torch.from_numpy(predictions.label_ids))
            return {"samples": float(len(predictions.label_ids))}

        return FeedlineTrainer(
            model=Model(), args=arguments, train_loader=train, eval_loader=val, compute_metrics=metrics
        )

    return makes


@pytest.fixture(scope="module")
def epochs(root: Path) -> list[list[int]]:
    """The sums over the pixels of the batches of epochs 0 to 2."""
    with open_loader("threaded", LoaderSpec.train(root, **FIELDS)) as loader:
        return [[int(batch.images.sum()) for batch in loader] for _ in range(3)]


def test_it_trains_on_each_epoch_and_evaluates_each_sample(
    trainer: Callable[..., Any], epochs: list[list[int]], opened: list[Loader]
) -> None:
    """Evaluation after each epoch."""
    training = trainer(eval_strategy="epoch")
    training.train()
    assert training.model.seen == list(itertools.chain(*epochs[:2]))
    assert training.evaluate()["eval_samples"] == len(opened[1].dataset)


@pytest.mark.parametrize(("step", "accumulate"), [(3, 1), (8, 1), (11, 1), (2, 2)])
def test_a_checkpoint_in_mid_epoch_goes_on_with_the_very_next_batch(
    step: int, accumulate: int, trainer: Callable[..., Any], epochs: list[list[int]], tmp_path: Path
) -> None:
    """8 batches are one epoch."""
    options = {"gradient_accumulation_steps": accumulate, "num_train_epochs": 3}
    whole = trainer(save_strategy="steps", save_steps=step, **options)
    whole.train()
    assert whole.model.seen == list(itertools.chain(*epochs))
    resumed = trainer(**options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / f"checkpoint-{step}"))
    assert resumed.model.seen == whole.model.seen[step * accumulate :]


def test_another_batch_size_is_refused(trainer: Callable[..., Any]) -> None:
    """The Trainer counts with that of its arguments."""
    with pytest.raises(LoaderError, match=r"is 10, that of the arguments is 8; set per_device_train_batch_size=10"):
        trainer(per_device_train_batch_size=8).train()

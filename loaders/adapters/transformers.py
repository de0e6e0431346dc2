"""Transformers' Trainer on loaders: the Trainer gets batches of ``pixel_values`` and ``labels``.

It numbers the epochs and, when it resumes in the middle of one, skips the batches that it has taken. Both reach the
loader, so that no batch is decoded to be dropped.
"""

from collections.abc import Callable
from typing import Any

import torch
from transformers import Trainer

from ...prep import LoaderError
from ..base import Loader
from ..batch import Batch
from .accelerate import AccelerateDataLoader


class FeedlineTrainerMixin:
    """The part of a Trainer that takes loaders instead of data sets; put it before a Trainer class of your own."""

    def __init__(
        self,
        *args: Any,
        train_loader: Loader | None = None,
        eval_loader: Loader | None = None,
        form: Callable[[Batch], Any] | None = None,
        **options: Any,
    ) -> None:
        """Take ``train_loader`` and ``eval_loader``, which the caller closes, and pass on the rest.

        ``form`` makes the model's inputs of a Batch, instead of ``pixel_values`` and ``labels``.
        """
        self._train_loader, self._eval_loader, self._form = train_loader, eval_loader, form or as_inputs
        if eval_loader is not None:
            options.setdefault("eval_dataset", eval_loader.dataset)  # a Trainer that evaluates requires one
        super().__init__(*args, **options)

    def get_train_dataloader(self) -> AccelerateDataLoader:
        return self._prepared("train", self._train_loader)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> AccelerateDataLoader:
        held = None if self._eval_loader is None else self._eval_loader.dataset
        if eval_dataset is not None and eval_dataset is not held:
            raise LoaderError("evaluate() takes no data set here; pass eval_loader to the Trainer")
        return self._prepared("eval", self._eval_loader)

    def _prepared(self, kind: str, loader: Loader | None) -> AccelerateDataLoader:
        trainer: Any = self
        if loader is None:
            raise LoaderError(f"this Trainer has no {kind}_loader; pass {kind}_loader=open_loader(...)")
        expected = getattr(trainer.args, f"{kind}_batch_size")
        if loader.batch_size != expected:
            raise LoaderError(
                f"the batch size of the loader is {loader.batch_size}, that of the arguments is {expected}; "
                f"set per_device_{kind}_batch_size={loader.batch_size}"
            )
        return trainer.accelerator.prepare(AccelerateDataLoader(loader, form=self._form))


class FeedlineTrainer(FeedlineTrainerMixin, Trainer):
    """A Trainer for image classification that takes loaders instead of data sets."""


def as_inputs(batch: Batch) -> dict[str, torch.Tensor]:
    return {"pixel_values": batch.images, "labels": batch.labels}

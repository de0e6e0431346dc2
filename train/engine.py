"""One training step and one evaluation pass. This module computes with the model and does not access files.

Nothing here waits for the device: the sums of a step stay there, for the caller to read when it must. (In fp16, torch's
gradient scaler reads one flag per step unless the optimiser is fused, as it is on a GPU.)

Loaders yield uint8 images. They become normalised floats here, on the device, so that a quarter of the bytes cross the
bus and workers spend no time on it.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from ..loaders import Batch, Loader, Normalise
from .config import Precision, TrainConfig
from .metrics import Sums, batch_sums
from .objective.average import build_average, update_average
from .objective.losses import Loss, distillation, loss_of
from .objective.optimisers import build_optimiser
from .ranks import Ranks

DTYPES: dict[Precision, torch.dtype] = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def autocast(device: str, amp: Precision) -> torch.autocast:
    """Return the context manager in which a model computes in the precision ``amp``."""
    return torch.autocast(torch.device(device).type, dtype=DTYPES[amp], enabled=amp != "none")


def least_images(model: nn.Module) -> int:
    """Return how many images a model needs to train on: 2 with BatchNorm, which computes their variance, else 1."""
    return 2 if any(isinstance(module, BATCH_NORMS) for module in model.modules()) else 1


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A model with its optimiser, gradient scaler and moving average."""

    config: TrainConfig
    ranks: Ranks
    model: nn.Module
    """The plain model, which is saved and evaluated."""
    network: Any
    """The same weights wrapped for training: compiled, and with gradients averaged over ranks."""
    normalise: Normalise
    optimiser: Optimizer
    scaler: torch.amp.GradScaler
    """Scales the loss so that small fp16 gradients do not become zero; does nothing in other precisions."""
    ema: AveragedModel | None
    """The moving average of the weights; None if the run keeps none."""
    loss: Loss
    least: int
    """How many images of a batch, or of a part of it, a step needs."""
    teacher: nn.Module | None = None
    """The model whose scores the run also learns, in eval mode; None without one."""

    @property
    def evaluated(self) -> nn.Module:
        """The model to evaluate: the moving average if the run keeps one, else ``model``."""
        return self.model if self.ema is None else self.ema.module

    def step(self, batch: Batch, lr: float, *, averaged: bool = True, copied: bool = False) -> torch.Tensor:
        """Train on one batch with the learning rate ``lr``.

        ``averaged`` says whether the moving average is updated, and ``copied`` whether it becomes a copy. Returns this
        rank's sums as ``batch_sums``, computed with the weights before this step. In fp16, a step whose gradients
        overflowed changes no weight.
        """
        self.model.train()
        self.optimiser.zero_grad()
        sums = self.backward(batch)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        if self.config.clip is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.ema is not None and averaged:
            update_average(self.ema, self.model, copied=copied)
        return sums

    def backward(self, batch: Batch) -> torch.Tensor:
        """Add the gradients of the batch's mean loss, averaged over the ranks; return this rank's sums."""
        # A batch that damaged images were left out of may be too small for as many parts.
        parts = max(1, min(self.config.accumulate, len(batch.labels) // self.least))
        sums: list[torch.Tensor] = []
        pairs = zip(batch.images.tensor_split(parts), batch.labels.tensor_split(parts), strict=True)
        for number, (images, labels) in enumerate(pairs, start=1):
            unsynced = self.ranks.size > 1 and number < parts  # ranks average gradients once, with the last part
            with self.network.no_sync() if unsynced else nullcontext(), self.ranks.lost_rank_named():
                with autocast(self.ranks.device, self.config.amp):
                    floats = self._floats(images)
                    if self.config.compile:
                        _compile_for_size(floats)
                    logits: torch.Tensor = self.network(floats)
                    loss = self._loss(logits, labels, floats)
                self.scaler.scale(loss * (len(labels) / len(batch.labels))).backward()
            sums.append(batch_sums(logits.detach(), labels))
        return torch.stack(sums).sum(0)

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor, floats: torch.Tensor) -> torch.Tensor:
        loss = self.loss(logits, labels)
        if self.teacher is None:
            return loss
        with torch.no_grad():
            taught = self.teacher(floats)
        weight = self.config.distill_weight
        return (1 - weight) * loss + weight * distillation(logits, taught, self.config.distill_temperature)

    def evaluate(self, loader: Loader) -> Iterator[torch.Tensor]:
        """Yield this rank's sums of each batch of the loader's epoch, 0 of an empty one; the weights do not change."""
        # Each rank has its own batch statistics, which differ since the last step.
        self.ranks.copy_from_rank_0(self.evaluated.buffers())
        for batch in loader:
            self.evaluated.eval()
            if not len(batch.labels):
                yield torch.tensor(Sums().values(), dtype=torch.float64, device=batch.labels.device)
                continue
            with torch.inference_mode(), autocast(self.ranks.device, self.config.amp):
                scores = mean_scores(self.evaluated, self._floats(batch.images), flip=self.config.eval_flip)
                sums = batch_sums(scores, batch.labels)
            yield sums

    def _floats(self, images: torch.Tensor) -> torch.Tensor:
        floats = self.normalise(images)
        return floats if self.config.channels_last else floats.contiguous()


def _compile_for_size(images: torch.Tensor) -> None:
    """Let torch.compile make a graph for this size of images, which is faster than one for any size."""
    from torch._dynamo import mark_static  # slow to import, and only of use here

    mark_static(images, [1, 2, 3])


def mean_scores(model: nn.Module, images: torch.Tensor, *, flip: bool) -> torch.Tensor:
    """Return the scores of images, float32 (N, 3, H, W); with ``flip`` the mean with those of the mirror images."""
    scores: torch.Tensor = model(images)
    return (scores + model(images.flip(3))) / 2 if flip else scores


def build_learner(model: nn.Module, config: TrainConfig, ranks: Ranks, teacher: nn.Module | None = None) -> Learner:
    """Return a learner on the rank's device. ``config`` must be resolved."""
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    model = model.to(ranks.device).to(memory_format=layout)  # pyright: ignore[reportCallIssue]  (partial stubs)
    return Learner(
        config=config,
        ranks=ranks,
        model=model,
        network=_network(model, config, ranks),
        normalise=Normalise().to(ranks.device),
        optimiser=build_optimiser(model, config, fused=ranks.device.startswith("cuda")),
        scaler=torch.amp.GradScaler(torch.device(ranks.device).type, enabled=config.amp == "fp16"),
        ema=build_average(model, config),
        loss=loss_of(config),
        least=least_images(model),
        teacher=None if teacher is None else teacher.to(ranks.device).eval(),
    )


def _network(model: nn.Module, config: TrainConfig, ranks: Ranks) -> Any:
    network: Any = model
    if ranks.size > 1:
        with ranks.lost_rank_named():
            network = DistributedDataParallel(network)
    return torch.compile(network) if config.compile else network

"""One training step and one evaluation pass. This module computes with the model and does not access files.

Loaders yield uint8 images. They become normalised floats here, on the device, so that a quarter of the bytes cross the
bus and workers spend no time on it.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, MultiStepLR, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..loaders import Batch, Loader, Normalise
from .config import Precision, TrainConfig
from .metrics import Sums
from .ranks import Ranks

WARMUP_START = 0.01  # of the learning rate, as in torchvision's reference training

DTYPES: dict[Precision, torch.dtype] = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: str, amp: Precision) -> torch.autocast:
    """Return the context manager in which a model computes in the precision ``amp``."""
    return torch.autocast(torch.device(device).type, dtype=DTYPES[amp], enabled=amp != "none")


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A model with its optimiser, learning rate schedule, gradient scaler and moving average."""

    config: TrainConfig
    ranks: Ranks
    model: nn.Module
    """The plain model, which is saved and evaluated."""
    network: Any
    """The same weights wrapped for training: compiled, and with gradients averaged over ranks."""
    normalise: Normalise
    optimiser: Optimizer
    schedule: LRScheduler
    scaler: torch.amp.GradScaler
    """Scales the loss so that small fp16 gradients do not become zero; does nothing in other precisions."""
    ema: AveragedModel | None
    """The moving average of the weights; None if the run keeps none."""

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.schedule.get_last_lr()[0])

    @property
    def evaluated(self) -> nn.Module:
        """The model to evaluate: the moving average if the run keeps one, else ``model``."""
        return self.model if self.ema is None else self.ema.module

    def step(self, batch: Batch) -> Sums:
        """Train on one batch; return its sums over all ranks, computed with the weights before this step.

        Raises NotFinite if the loss is not finite; the weights are then those of the step before.
        """
        self.model.train()
        self.optimiser.zero_grad()
        sums = self.backward(batch)
        sums = Sums.from_values(self.ranks.total(sums.values())).require_finite()
        if self.config.clip is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.scaler.get_scale() >= scale:  # else fp16 gradients overflowed and the optimiser took no step
            self.schedule.step()
        if self.ema is not None:
            self.ema.update_parameters(self.model)
        return sums

    def backward(self, batch: Batch) -> Sums:
        """Add the gradients of the batch's mean loss, averaged over the ranks; return this rank's sums."""
        parts = self.config.accumulate
        sums = Sums()
        pairs = zip(batch.images.tensor_split(parts), batch.labels.tensor_split(parts), strict=True)
        for number, (images, labels) in enumerate(pairs, start=1):
            unsynced = self.ranks.size > 1 and number < parts  # ranks average gradients once, with the last part
            with self.network.no_sync() if unsynced else nullcontext(), self.ranks.lost_rank_named():
                with autocast(self.ranks.device, self.config.amp):
                    logits: torch.Tensor = self.network(self._floats(images))
                    loss = F.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)
                self.scaler.scale(loss * (len(labels) / len(batch.labels))).backward()
            sums += Sums.of(logits.detach(), labels)
        return sums

    def evaluate(self, loader: Loader) -> Iterator[Sums]:
        """Yield this rank's sums of each batch of the loader's epoch; the weights do not change."""
        # Each rank has its own batch statistics, which differ since the last step.
        self.ranks.copy_from_rank_0(self.evaluated.buffers())
        for batch in loader:
            self.evaluated.eval()
            with torch.inference_mode(), autocast(self.ranks.device, self.config.amp):
                sums = Sums.of(self.evaluated(self._floats(batch.images)), batch.labels)
            yield sums

    def _floats(self, images: torch.Tensor) -> torch.Tensor:
        floats = self.normalise(images)
        return floats if self.config.channels_last else floats.contiguous()


def build_learner(model: nn.Module, config: TrainConfig, steps: int, ranks: Ranks) -> Learner:
    """Return a learner for a run of ``steps`` steps on the rank's device. ``config`` must be resolved."""
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    model = model.to(ranks.device).to(memory_format=layout)  # pyright: ignore[reportCallIssue]  (partial stubs)
    optimiser = _build_optimiser(model, config)
    return Learner(
        config=config,
        ranks=ranks,
        model=model,
        network=_network(model, config, ranks),
        normalise=Normalise().to(ranks.device),
        optimiser=optimiser,
        schedule=build_schedule(optimiser, config, steps),
        scaler=torch.amp.GradScaler(torch.device(ranks.device).type, enabled=config.amp == "fp16"),
        ema=_average(model, config.ema),
    )


def _build_optimiser(model: nn.Module, config: TrainConfig) -> Optimizer:
    """Return SGD with Nesterov momentum, or AdamW, without weight decay on norms and biases.

    Weight decay on them does not regularise (He et al., Bag of Tricks, 2019, section 3.1). ``config`` must be resolved.
    """
    weights = list(model.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    assert config.lr is not None
    if config.optimiser == "adamw":
        return AdamW(groups, lr=config.lr)
    return SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)


def build_schedule(optimiser: Optimizer, config: TrainConfig, steps: int) -> LRScheduler:
    """Return a linear warm-up followed by the config's schedule. Step it once per training step."""
    warmup_steps = int(config.warmup * steps)
    rest = steps - warmup_steps
    if config.schedule == "cosine":
        main = CosineAnnealingLR(optimiser, T_max=rest)
    elif config.schedule == "step":
        main = MultiStepLR(optimiser, milestones=[steps * third // 3 - warmup_steps for third in (1, 2)])
    else:
        main = ConstantLR(optimiser, factor=1.0)
    if warmup_steps == 0:
        return main
    warmup = LinearLR(optimiser, start_factor=WARMUP_START, total_iters=warmup_steps)
    return SequentialLR(optimiser, [warmup, main], milestones=[warmup_steps])


def _network(model: nn.Module, config: TrainConfig, ranks: Ranks) -> Any:
    network: Any = model
    if ranks.size > 1:
        network = DistributedDataParallel(network)
    return torch.compile(network) if config.compile else network


def _average(model: nn.Module, decay: float | None) -> AveragedModel | None:
    if decay is None:
        return None
    # The batch statistics are averaged too: those of the current weights do not belong to the averaged weights.
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)

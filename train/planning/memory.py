"""The memory that a run needs. The activations are measured by a forward pass on tensors without contents.

torch's fake tensors have shapes, types and storages, and need no memory for contents. So autograd's hook for saved
tensors sees what a forward pass keeps for the backward pass, under autocast too, and nothing is computed. It does not
see what torch's allocator, cuDNN's workspaces and torch.compile add or save.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.multiprocessing.reductions import StorageWeakRef

from ..checkpoint import read_checkpoint
from ..config import TrainConfig
from ..engine import DTYPES

# Tensors of an optimiser as large as the weights: momentum of SGD; both averages of Adam's kind.
AVERAGES = 2


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on the device of one rank."""

    parameters: int
    """Numbers, not bytes."""
    weights: int
    """With the buffers, such as batch statistics."""
    gradients: int
    """Twice as many with several ranks, whose gradients are averaged in buffers of their own."""
    optimiser: int
    average: int
    """The moving average of the weights; 0 if the run keeps none."""
    teacher: int
    """The weights of the model that the run learns from; 0 without one."""
    activations: int | None
    """What one part of a batch keeps for the backward pass, an estimate; None if this model cannot be run without
    contents."""

    @property
    def total(self) -> int:
        """The sum, without the activations if they are not known."""
        kept = self.weights + self.gradients + self.optimiser + self.average + self.teacher
        return kept + (self.activations or 0)

    @property
    def checkpoint(self) -> int:
        """Bytes of a checkpoint's file, without the history."""
        return self.weights + self.optimiser + self.average


def measure_memory(model: nn.Module, config: TrainConfig, *, image_size: int, ranks: int) -> Memory:
    """Return the memory of a run with ``model``, of which ``image_size`` is the largest, on one of its ``ranks``."""
    weights = list(model.parameters())
    size, buffers = (sum(tensor.nbytes for tensor in found) for found in (weights, model.buffers()))
    return Memory(
        parameters=sum(weight.numel() for weight in weights),
        weights=size + buffers,
        gradients=size * (2 if ranks > 1 else 1),
        optimiser=size * _averages(config),
        average=size + buffers if config.ema is not None else 0,
        teacher=_teacher(config),
        activations=_activations(model, config, image_size),
    )


def _teacher(config: TrainConfig) -> int:
    if config.teacher is None:
        return 0
    return sum(tensor.nbytes for tensor in read_checkpoint(config.teacher).model.values())


def _averages(config: TrainConfig) -> int:
    if config.optimiser == "sgd":
        return 1 if config.momentum > 0 else 0
    return AVERAGES


def _activations(model: nn.Module, config: TrainConfig, image_size: int) -> int | None:
    """Return the bytes that a forward pass and its loss keep of one part of a batch. ``model`` does not change."""
    mode = FakeTensorMode()
    part = -(-config.batch_size // config.accumulate)
    empty: dict[str, torch.Tensor] = {name: mode.from_tensor(tensor) for name, tensor in model.named_parameters()}
    own = {StorageWeakRef(tensor.untyped_storage()) for tensor in empty.values()}
    empty |= {name: mode.from_tensor(tensor) for name, tensor in model.named_buffers()}
    kept: dict[StorageWeakRef, torch.UntypedStorage] = {}  # held, so that none is freed and its place used again

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if StorageWeakRef(storage) not in own:
            kept[StorageWeakRef(storage)] = storage
        return tensor

    hooks: Any = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    try:
        with mode, hooks, torch.autocast("cpu", dtype=DTYPES[config.amp], enabled=config.amp != "none"):
            images, labels = torch.empty(part, 3, image_size, image_size), torch.zeros(part, dtype=torch.int64)
            F.cross_entropy(functional_call(model.train(), empty, (images,)), labels)
    except Exception:  # a model may look at the contents of its tensors, which these do not have
        return None
    return sum(storage.nbytes() for storage in kept.values())

"""The cost of every layer of a model: output shape, parameters, multiply-accumulates, activation memory.

torch counts the operations (``torch.utils.flop_counter``) on the meta device, where tensors have shapes and no
contents. Nothing is computed, and a ResNet-101 at any size takes a second. torchinfo, the usual library for this, has
had no release since 2023.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..config import Stem, chosen_stem
from .build import build_model

FLOAT32 = 4  # bytes a value


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One module without submodules. Figures are for one image, in the forward pass, in float32."""

    name: str
    """The module's path in the model, as in the state dict."""
    kind: str
    """The name of the module's class."""
    output: tuple[int, ...]
    """Without the batch: (channels, height, width), or (classes,)."""
    parameters: int
    macs: int
    """Multiply-accumulates of convolutions and matrix products; 0 for a module that only adds or compares."""
    activation_bytes: int
    """Bytes of the output; 0 for an operation in place, because its output is no new tensor."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A model at one image size."""

    model: str
    stem: Stem
    image_size: int
    classes: int
    layers: tuple[Layer, ...]
    """In the order of computation. A module that is used twice is listed twice, and its parameters and operations count
    once."""
    parameters: int
    macs: int
    activation_bytes: int
    """Bytes that training keeps of one image for the backward pass, if nothing is fused or recomputed."""


def summarise_model(model: str, *, image_size: int = 224, stem: Stem = "auto", classes: int = 1000) -> Summary:
    """Return every layer of a model and the totals. Raises TrainingError for an unknown model."""
    stem = chosen_stem(stem, image_size, model)
    with torch.device("meta"):
        network = build_model(model, classes, stem=stem, seed=0, image_size=image_size).eval()
        image = torch.empty(1, 3, image_size, image_size)
    layers = tuple(_trace(network, image))
    return Summary(
        model=model,
        stem=stem,
        image_size=image_size,
        classes=classes,
        layers=layers,
        parameters=sum(layer.parameters for layer in layers),
        macs=sum(layer.macs for layer in layers),
        activation_bytes=sum(layer.activation_bytes for layer in layers),
    )


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One use of a module in the forward pass."""

    name: str
    module: nn.Module
    output: tuple[int, ...]
    is_new: bool
    """Whether the output is a new tensor, not the input changed in place."""


def _trace(network: nn.Module, image: torch.Tensor) -> list[Layer]:
    """Return a layer for each use of a module without submodules, in the order of computation."""
    calls: list[_Call] = []
    leaves = [(name, module) for name, module in network.named_modules() if not list(module.children())]
    hooks = [module.register_forward_hook(_recorder(name, calls)) for name, module in leaves]
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        network(image)
    for hook in hooks:
        hook.remove()
    flops = counter.get_flop_counts()
    seen: set[str] = set()
    layers: list[Layer] = []
    for call in calls:
        counted = flops.get(f"{type(network).__name__}.{call.name}", {})
        layers.append(_layer(call, first=call.name not in seen, flops=sum(counted.values())))
        seen.add(call.name)
    return layers


def _recorder(name: str, calls: list[_Call]) -> Any:
    """Return a forward hook that appends each call of a module to ``calls``."""

    def record(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        calls.append(_Call(name=name, module=module, output=tuple(output.shape[1:]), is_new=output is not inputs[0]))

    return record


def _layer(call: _Call, *, first: bool, flops: int) -> Layer:
    """Return the layer of a call. ``flops`` is the sum over all calls of the module, so only the first counts it."""
    return Layer(
        name=call.name,
        kind=type(call.module).__name__,
        output=call.output,
        parameters=sum(weight.numel() for weight in call.module.parameters()) if first else 0,
        macs=flops // 2 if first else 0,  # torch counts a multiplication and an addition as two operations
        activation_bytes=FLOAT32 * torch.Size(call.output).numel() if call.is_new else 0,
    )

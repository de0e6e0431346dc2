"""Every layer of a model with what it costs: output shape, parameters, multiply-accumulates, activation memory.

torch counts the operations itself (``torch.utils.flop_counter``), on the meta device, where tensors have shapes and
no contents: nothing is computed, and a ResNet-101 at any size takes a second. torchinfo, the usual library for this,
has had no release since 2023.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .config import Stem, chosen_stem
from .models import build_model

FLOAT32 = 4  # bytes


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One module that computes something itself. Figures are for one image, forwards, in float32."""

    name: str
    """Its path in the model, as in the state dict."""
    kind: str
    output: tuple[int, ...]
    """Without the batch: (channels, height, width), or (classes,)."""
    parameters: int
    macs: int
    """Multiply-accumulates of convolutions and matrix products; 0 for what only adds or compares."""
    activation_bytes: int
    """Of its output, where that is a tensor of its own: an operation in place has none."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A model at one image size."""

    model: str
    stem: Stem
    image_size: int
    classes: int
    layers: tuple[Layer, ...]
    """In the order in which they compute; one that is used twice stands here twice, its parameters once."""
    parameters: int
    macs: int
    activation_bytes: int
    """What training keeps of one image for the backward pass, before anything is fused or recomputed."""


def summarise_model(model: str, *, image_size: int = 224, stem: Stem = "auto", classes: int = 1000) -> Summary:
    """Return every layer of a model and the totals. Raises TrainingError for an unknown name."""
    stem = chosen_stem(stem, image_size)
    with torch.device("meta"):
        network = build_model(model, classes, stem=stem, seed=0).eval()
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


def _trace(network: nn.Module, image: torch.Tensor) -> list[Layer]:
    calls: list[tuple[str, nn.Module, tuple[int, ...], bool]] = []

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            calls.append((name, module, tuple(output.shape[1:]), output is not inputs[0]))

        return hook

    leaves = {name: module for name, module in network.named_modules() if not list(module.children())}
    hooks = [module.register_forward_hook(note(name)) for name, module in leaves.items()]
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        network(image)
    for hook in hooks:
        hook.remove()
    flops = counter.get_flop_counts()
    prefix = type(network).__name__
    seen: defaultdict[str, int] = defaultdict(int)
    layers: list[Layer] = []
    for name, module, output, is_new in calls:
        first = seen[name] == 0
        seen[name] += 1
        layers.append(
            Layer(
                name=name,
                kind=type(module).__name__,
                output=output,
                parameters=sum(weight.numel() for weight in module.parameters()) if first else 0,
                # torch counts a multiplication and an addition as two.
                macs=sum(flops.get(f"{prefix}.{name}", {}).values()) // 2 if first else 0,
                activation_bytes=FLOAT32 * torch.Size(output).numel() if is_new else 0,
            )
        )
    return layers

"""Classification models by name, with random weights: torchvision's, and timm's as ``timm:NAME``.

This module downloads nothing. In torchvision's ResNets, the last normalisation of every residual block starts at zero,
so that each block starts as the identity (Goyal et al., 2017, section 5.1); short runs gain the most from this. The
small stem is that of the ResNets for CIFAR (He et al., 2016, section 4.2): one 3x3 convolution with stride 1, and no
max-pool.
"""

from difflib import get_close_matches
from importlib import import_module
from typing import Any

import torch
import torchvision
from torch import nn
from torchvision.models import ResNet, get_model, list_models

from ...prep import TrainingError
from ..config import SMALL_STEM_MODELS, Stem

MODELS = SMALL_STEM_MODELS
"""The models whose speed and learning this project measures. Every other name of torchvision or timm works too."""

TIMM = "timm:"

# What these need beyond the number of classes: no second and third output in training, which are theirs alone.
SINGLE_OUTPUT = {"googlenet": {"aux_logits": False, "init_weights": True}}
SINGLE_OUTPUT["inception_v3"] = SINGLE_OUTPUT["googlenet"]


def build_model(name: str, classes: int, *, stem: Stem, seed: int, image_size: int) -> nn.Module:
    """Return a model from float32 (N, 3, H, W) to scores (N, ``classes``); ``seed`` determines its weights.

    H and W are ``image_size`` pixels. ``stem`` is ``imagenet`` or ``small``; only the ResNets of ``MODELS`` have a
    small one. The state of torch's global generator does not change. Raises TrainingError for an unknown name, a stem
    that the model does not have, and an image size that it cannot compute.
    """
    if stem == "small" and name not in MODELS:
        raise TrainingError(f"{name} has no small stem, only {', '.join(MODELS)} have one; use --stem imagenet")
    check_model(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name.startswith(TIMM):
            model = _from_timm(name, classes, image_size)
        else:
            model = _from_torchvision(name, classes, image_size)
        if stem == "small":
            _make_small(model)
    if name not in MODELS:
        _require_scores(model, name, classes, image_size)
    return model


def check_model(name: str) -> None:
    """Raise TrainingError unless torchvision or timm has a classification model of this name."""
    if name.startswith(TIMM):
        timm, plain = _timm(name), name.removeprefix(TIMM)
        names, known = timm.list_models, timm.is_model(plain)
    else:
        plain, names = name, lambda: list_models(module=torchvision.models)
        known = name in names()
    if not known:
        near = get_close_matches(plain, names(), n=3, cutoff=0.5) or list(MODELS)
        of = "of timm" if name.startswith(TIMM) else f"of torchvision, or give timm's as {TIMM}NAME"
        raise TrainingError(f"unknown model {name!r}; choose one such as {', '.join(near)} {of}")


def _from_torchvision(name: str, classes: int, image_size: int) -> nn.Module:
    settings: dict[str, Any] = dict(SINGLE_OUTPUT.get(name, {}))
    if "resne" in name:  # ResNet, ResNeXt, Wide ResNet
        settings["zero_init_residual"] = True
    if name.startswith("vit_"):
        settings["image_size"] = image_size
    try:
        return get_model(name, weights=None, num_classes=classes, **settings)
    except (ValueError, AssertionError, RuntimeError) as error:
        raise _wrong_size(name, image_size, error) from error


def _from_timm(name: str, classes: int, image_size: int) -> nn.Module:
    timm, plain = _timm(name), name.removeprefix(TIMM)
    try:
        try:
            return timm.create_model(plain, pretrained=False, num_classes=classes, img_size=image_size)
        except TypeError:  # a model that takes any size has no such argument
            return timm.create_model(plain, pretrained=False, num_classes=classes)
    except (ValueError, AssertionError, RuntimeError) as error:
        raise _wrong_size(name, image_size, error) from error


def _timm(name: str) -> Any:
    try:
        return import_module("timm")
    except ModuleNotFoundError as error:
        raise TrainingError(f"the model {name} needs timm; install it with: pip install timm") from error


def _make_small(model: nn.Module) -> None:
    assert isinstance(model, ResNet)
    model.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
    setattr(model, "maxpool", nn.Identity())  # noqa: B010  (typed as MaxPool2d)


def _require_scores(model: nn.Module, name: str, classes: int, image_size: int) -> None:
    """Raise TrainingError unless the model makes (1, ``classes``) scores of an image of this size."""
    first = next(model.parameters(), None)
    image = torch.zeros(1, 3, image_size, image_size, device=None if first is None else first.device)
    try:
        with torch.inference_mode():
            shape = tuple(model.eval()(image).shape)
    except (ValueError, AssertionError, RuntimeError, AttributeError) as error:
        raise _wrong_size(name, image_size, error) from error
    finally:
        model.train()
    if shape != (1, classes):
        raise TrainingError(
            f"{name} returns {shape} for one image, not scores of {classes} classes; use another --model"
        )


def _wrong_size(name: str, image_size: int, error: Exception) -> TrainingError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return TrainingError(f"{name} cannot compute images of {image_size} px ({reason}); use another --image-size")

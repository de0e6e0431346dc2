"""Classification models by name, with random weights: torchvision's, and timm's as ``timm:NAME``.

This module downloads nothing. In torchvision's ResNets, the last normalisation of every residual block starts at zero,
so that each block starts as the identity (Goyal et al., 2017, section 5.1); short runs gain the most from this. The
small stem is that of the ResNets for CIFAR (He et al., 2016, section 4.2): one 3x3 convolution with stride 1, and no
max-pool.
"""

from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from typing import Any, cast

import torch
import torchvision
from torch import nn
from torch.func import functional_call
from torchvision.models import ResNet, get_model, list_models

from ...prep import TrainingError
from ..config import SMALL_STEM_MODELS, Stem, TrainConfig
from .changes import blur_strided, drop_blocks, drops_blocks

MODELS = SMALL_STEM_MODELS
"""The models whose speed and learning this project measures. Every other name of torchvision or timm works too."""

TIMM = "timm:"

# What these need beyond the number of classes: no second and third output in training, which are theirs alone.
SINGLE_OUTPUT = {"googlenet": {"aux_logits": False, "init_weights": True}}
SINGLE_OUTPUT["inception_v3"] = SINGLE_OUTPUT["googlenet"]


def model_of(config: TrainConfig, classes: int) -> nn.Module:
    """Return the model of a run with fresh weights. ``config`` must be resolved. Raises what ``build_model`` raises.

    Also raises TrainingError if the model cannot compute one of the run's other image sizes.
    """
    model = build_model(
        config.model,
        classes,
        stem=config.stem,
        seed=config.seed,
        image_size=config.image_size,
        drop_path=config.drop_path,
        blurpool=config.blurpool,
    )
    for size in {config.size_from, config.eval_image_size} - {None, config.image_size}:
        require_scores(model, config.model, classes, cast(int, size))
    return model


def build_model(
    name: str,
    classes: int,
    *,
    stem: Stem,
    seed: int,
    image_size: int,
    drop_path: float | None = None,
    blurpool: bool = False,
) -> nn.Module:
    """Return a model from float32 (N, 3, H, W) to scores (N, ``classes``); ``seed`` determines its weights.

    H and W are ``image_size`` pixels. ``stem`` is ``imagenet`` or ``small``; only the ResNets of ``MODELS`` have a
    small one. ``drop_path`` and ``blurpool`` are as in ``TrainConfig``. The state of torch's global generator does not
    change. Raises TrainingError for an unknown name, a stem, stochastic depth or blur that the model does not have, and
    an image size that it cannot compute.
    """
    if stem == "small" and name not in MODELS:
        raise TrainingError(f"{name} has no small stem, only {', '.join(MODELS)} have one; use --stem imagenet")
    check_model(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name.startswith(TIMM):
            model = _from_timm(name, classes, image_size, drop_path)
        else:
            model = _from_torchvision(name, classes, image_size, drop_path)
        if stem == "small":
            _make_small(model)
        if drop_path and not drops_blocks(model):
            raise _no_depth(name)
        if blurpool and not blur_strided(model):
            raise TrainingError(f"{name} has no strided convolution to blur; use --no-blurpool")
    if name not in MODELS:
        require_scores(model, name, classes, image_size)
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
    if name.startswith(TIMM):
        _require_tag(_timm(name), plain)


def _require_tag(timm: Any, plain: str) -> None:
    """Raise TrainingError for the name of one of timm's models with a tag of weights that timm does not know."""
    try:
        timm.get_pretrained_cfg(plain)
    except RuntimeError as error:
        model, _, tag = plain.partition(".")
        known = ", ".join(name.partition(".")[2] for name in timm.list_pretrained(f"{model}.*")[:3])
        raise TrainingError(
            f"timm's {model} has no weights {tag!r}; give {TIMM}{model}{f', or a tag such as {known}' * bool(known)}"
        ) from error


def _from_torchvision(name: str, classes: int, image_size: int, drop_path: float | None) -> nn.Module:
    settings: dict[str, Any] = dict(SINGLE_OUTPUT.get(name, {}))
    is_resnet = "resne" in name  # ResNet, ResNeXt, Wide ResNet
    if is_resnet:
        settings["zero_init_residual"] = True
    elif drop_path is not None:
        settings["stochastic_depth_prob"] = drop_path
    if name.startswith("vit_"):
        settings["image_size"] = image_size
    try:
        model = get_model(name, weights=None, num_classes=classes, **settings)
    except TypeError as error:
        if drop_path is None:
            raise
        if drop_path == 0:
            return _from_torchvision(name, classes, image_size, None)
        raise _no_depth(name) from error
    except (ValueError, AssertionError, RuntimeError) as error:
        raise _wrong_size(name, image_size, error) from error
    if is_resnet and drop_path:
        drop_blocks(model, drop_path)
    return model


def _from_timm(name: str, classes: int, image_size: int, drop_path: float | None) -> nn.Module:
    timm, plain = _timm(name), name.removeprefix(TIMM)
    settings: dict[str, Any] = {} if drop_path is None else {"drop_path_rate": drop_path}
    try:
        try:
            return timm.create_model(plain, pretrained=False, num_classes=classes, img_size=image_size, **settings)
        except TypeError:  # a model that takes any size has no such argument
            return timm.create_model(plain, pretrained=False, num_classes=classes, **settings)
    except TypeError as error:
        if drop_path is None:
            raise
        if drop_path == 0:
            return _from_timm(name, classes, image_size, None)
        raise _no_depth(name) from error
    except (ValueError, AssertionError, RuntimeError) as error:
        raise _wrong_size(name, image_size, error) from error


def _no_depth(name: str) -> TrainingError:
    return TrainingError(
        f"{name} has no stochastic depth; use --drop-path 0, or use a model that has it, such as resnet50"
    )


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


def require_scores(model: nn.Module, name: str, classes: int, image_size: int) -> None:
    """Raise TrainingError unless the model makes (1, ``classes``) scores of an image of this size."""
    try:
        shape = _shape_of_scores(model, image_size)
    except (ValueError, AssertionError, RuntimeError, AttributeError) as error:
        raise _wrong_size(name, image_size, error) from error
    if shape != (1, classes):
        raise TrainingError(
            f"{name} returns {shape} for one image, not scores of {classes} classes; use another --model"
        )


def _shape_of_scores(model: nn.Module, image_size: int) -> tuple[int, ...]:
    """Return the shape of the model's output for one image, computed without contents if the model allows it."""
    first, tensors = next(model.parameters(), None), (*model.named_parameters(), *model.named_buffers())
    image = torch.empty(1, 3, image_size, image_size, device="meta")
    model.eval()
    try:
        with torch.inference_mode():
            with suppress(Exception):  # a model may look at the contents of its tensors, which meta's do not have
                return tuple(functional_call(model, {name: t.to("meta") for name, t in tensors}, (image,)).shape)
            own = torch.zeros(image.shape, device="cpu" if first is None else first.device)
            return tuple(model(own).shape)
    finally:
        model.train()


def _wrong_size(name: str, image_size: int, error: Exception) -> TrainingError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return TrainingError(f"{name} cannot compute images of {image_size} px ({reason}); use another --image-size")

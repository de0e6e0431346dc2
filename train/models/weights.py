"""Weights of other programs: state dicts of torchvision and timm, bare or wrapped, into a model of ours.

A state dict is found by its content. Training scripts wrap it in a dict with other entries, and in prefixes of the
module that held the model: ``module.`` of DistributedDataParallel, ``_orig_mod.`` of torch.compile. The weights of a
moving average are preferred, as in the scripts themselves. No pickled code runs (``weights_only``), and an archive
cannot expand in memory.
"""

import re
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torchvision.models import DenseNet

from ...prep import TrainingError

# In this order: timm's and torchvision's moving averages, then the names under which they and Lightning keep weights.
WRAPPERS = ("state_dict_ema", "model_ema", "ema", "state_dict", "model", "model_state_dict")
PREFIXES = ("module.", "_orig_mod.", "model.")

# The names of torchvision's DenseNet files, which its own download mends too.
OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")

Weights = dict[str, torch.Tensor]

# A ResNet-101 with its momentum is 0.4 GB.
MAX_BYTES = 4 * 1024**3


def read_weights(path: Path) -> Weights:
    """Return the state dict in the file at ``path``, on the CPU, without wrappers and prefixes.

    Checkpoints of feedline, torchvision's references and timm are read, and plain state dicts. Raises TrainingError for
    a file that holds none.
    """
    if zipfile.is_zipfile(path):  # torch's own form since 1.6; before, it wrote no archive
        check_archive(path)
    try:
        with torch.serialization.safe_globals([Namespace]):  # the arguments of timm's and torchvision's scripts
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}; use another file of weights") from error
    # A hostile pickle can make torch.load raise any exception: KeyError, AttributeError, RecursionError, ...
    except Exception as error:
        raise TrainingError(
            f"{path} holds no weights that torch reads without running code; use another file"
        ) from error
    weights = _unwrapped(content)
    if weights is None:
        raise TrainingError(f"{path} holds no state dict; use a file that torch.save(model.state_dict(), ...) wrote")
    return weights


def load_weights(model: nn.Module, path: Path, *, any_head: bool) -> str | None:
    """Load the weights at ``path`` into ``model``; return the name of its head if that stays as it is, else None.

    With ``any_head``, the last layers may have other classes in the file, and then keep their fresh weights. Raises
    TrainingError if the weights do not fit the model otherwise, or are not finite.
    """
    own = model.state_dict()
    weights = _as_today(model, own, read_weights(path))
    heads = _heads(model, own, weights) if any_head else []
    weights |= {name: own[name] for name in heads}
    missing, left = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    shapes = [name for name in own if name in weights and weights[name].shape != own[name].shape]
    if missing or left or shapes:
        raise TrainingError(f"the weights in {path} are not those of the model: {_difference(own, weights)}")
    wrong = next((name for name, tensor in weights.items() if not bool(tensor.isfinite().all())), None)
    if wrong is not None:
        raise TrainingError(
            f"{wrong} in {path} has numbers that are not finite, so the run diverged; use other weights"
        )
    model.load_state_dict(weights)
    return " and ".join(dict.fromkeys(name.rpartition(".")[0] for name in heads)) or None


def _as_today(model: nn.Module, own: Weights, weights: Weights) -> Weights:
    """Return weights under the names of today's model, as torch and torchvision take them.

    Batch normalisations had no count of batches before torch 0.4.1. DenseNet's files have points in the names of its
    layers. GoogLeNet's and Inception's have auxiliary heads, which a model without them does not use.
    """
    if isinstance(model, DenseNet):
        weights = {OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in weights.items()}
    if getattr(model, "aux_logits", True) is False:
        weights = {name: tensor for name, tensor in weights.items() if not name.lower().startswith("aux")}
    counts = {name for name in own.keys() - weights.keys() if name.endswith(".num_batches_tracked")}
    return weights | {name: own[name] for name in counts}


def _heads(model: nn.Module, own: Weights, weights: Weights) -> list[str]:
    """Return the tensors of the last layers, if the weights have another number of classes there; else none.

    They are all that differ, in the first dimension alone, and all from one number to one other. Models that were
    distilled have two such layers, and some have one for each branch.
    """
    names = [name for name in own if name in weights and weights[name].shape != own[name].shape]
    counts = {(own[name].shape[:1], weights[name].shape[:1]) for name in names}
    others = all(own[name].shape[1:] == weights[name].shape[1:] for name in names)
    layers = {name.rpartition(".")[0] for name in names}
    return names if len(counts) == 1 and others and _last_layer(model) in layers else []


def check_archive(path: Path, *, tensors: bool = True) -> None:
    """Raise TrainingError unless ``path`` is an undamaged zip archive of stored members, as torch writes it.

    Without ``tensors``, the bytes of the tensors are not read, and may be damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any("/code/" in name for name in names):
                raise TrainingError(
                    f"{path} is a TorchScript model, whose code feedline does not run; save its state_dict() instead"
                )
            size = sum(member.file_size for member in archive.infolist())
            if size > min(MAX_BYTES, path.stat().st_size):
                raise TrainingError(
                    f"{path} is not a checkpoint: its members have {size} bytes, more than the file or more than "
                    f"{MAX_BYTES}; use another checkpoint"
                )
            damaged = archive.testzip() if tensors else None
            for name in names:
                if name.endswith("/data.pkl"):
                    archive.read(name)  # raises BadZipFile for a wrong CRC
    except OSError as error:
        raise TrainingError(f"cannot read the checkpoint {path}: {error.strerror}; use another checkpoint") from error
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError, EOFError) as error:
        raise TrainingError(f"{path} is damaged or not a checkpoint: {error}; use another checkpoint") from error
    if damaged is not None:
        raise TrainingError(f"{path} is damaged: its member {damaged} has a wrong CRC; use another checkpoint")


def _unwrapped(content: Any, depth: int = 0) -> Weights | None:
    if not isinstance(content, Mapping) or depth > len(WRAPPERS):  # a dict may hold itself
        return None
    found = cast(Mapping[Any, Any], content)
    if found and all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in found.items()):
        return _without_prefixes(dict(found))
    for name in WRAPPERS:
        inner = _unwrapped(found.get(name), depth + 1)
        if inner is not None:
            return inner
    return None


def _without_prefixes(weights: Weights) -> Weights:
    weights.pop("n_averaged", None)  # the step count of torch's AveragedModel
    for prefix in (*PREFIXES, *PREFIXES):
        if weights and all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return weights


def _last_layer(model: nn.Module) -> str:
    """Return the name of the last layer with a weight of two dimensions: the classifier of every model here."""
    return [name for name, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))][-1]


def _difference(own: Weights, weights: Weights) -> str:
    blurred = [sum(name.endswith(".blur") for name in names) for names in (own, weights)]
    if blurred[0] != blurred[1]:
        return (
            f"{'the model' if blurred[0] else 'their model'} has blur in its strided convolutions, and the other has "
            "not; use the same --blurpool for both"
        )
    for name in own:
        if name not in weights:
            return f"they lack {name}; choose the --model that they belong to"
        if weights[name].shape != own[name].shape:
            return (
                f"{name} has the shape {tuple(weights[name].shape)} instead of {tuple(own[name].shape)}; choose the "
                "--model, the --image-size and the data set that they belong to"
            )
    return f"they have {next(name for name in weights if name not in own)} too; choose the --model that they belong to"

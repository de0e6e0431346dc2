"""``create_dataset`` and ``create_loader`` of timm on a root, for timm's own ``train.py`` and scripts like it.

    from feedline.loaders.adapters.timm import create_dataset, create_loader    # after the import of timm.data

The arguments are those of the installed timm. Each is honoured, or refused by its name if it has another value than
timm's default. What timm does to PIL images after the crop and the flips, such as colour jitter and RandAugment, is
timm's own code. So is what ``create_loader`` returns, a PrefetchLoader, which normalises and erases on the device.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from timm.data.dataset_factory import create_dataset as make_dataset
from timm.data.loader import PrefetchLoader, create_loader as make_loader
from torch.utils.data import Dataset

from ...prep import LoaderError
from ..spec import LoaderSpec
from ..table import open_loader
from ..view import SplitView
from .timm_transforms import cropping_of, normalising, square_of
from .torch import TorchDataLoader

SPLITS = {"training": "train", "valid": "val", "validation": "val", "eval": "val", "evaluation": "val"}
"""timm's words for the splits; every other word is the name of a split."""

HINTS = {"search_split", "is_training", "batch_size", "trust_remote_code"}
"""Arguments of ``create_dataset`` that mean something for other data sets only."""

NO_PROCESSES = {"pin_memory", "use_multi_epochs_loader", "persistent_workers", "worker_seeding"}
"""Arguments about worker processes, which have no effect: every random number comes from the seed and the sample."""

OF_CHOICES = {
    "batch_choice_seed",
    "batch_choice_schedule",
    "batch_schedule_epochs",
    "batch_schedule_spread",
    "batch_schedule_random_mix",
}
"""Arguments that mean nothing without ``input_size_choices``, which is refused."""

SAME = {"train_crop_mode": "rrc", "crop_mode": "center"}
"""Other words for the defaults."""


@dataclass
class RootSplit(Dataset[tuple[torch.Tensor, int]]):
    """A split of a root, as ``create_dataset`` returns it."""

    loader: str
    spec: LoaderSpec

    def __len__(self) -> int:
        return len(self._view)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._view[index]

    @cached_property
    def _view(self) -> SplitView:
        return SplitView(self.spec)


def create_dataset(*args: Any, **options: Any) -> RootSplit:
    """Return the split of the root ``root``, for ``create_loader``.

    ``name`` is empty or ``feedline``, or names a loader, as in ``feedline/dali``; the default is ``threaded``. The
    other arguments are timm's. Raises LoaderError for one that cannot be honoured.
    """
    given = _bound(make_dataset, *args, **options)
    kind, _, loader = given.pop("name").partition("/")
    if kind not in ("", "feedline"):
        raise LoaderError(
            f"the data set {kind!r} is none of feedline's; leave --dataset out, or name feedline/threaded"
        )
    root, split, seed = (given.pop(argument) for argument in ("root", "split", "seed"))
    _require_default("create_dataset", make_dataset, given, HINTS)
    spec = LoaderSpec(root=root, split=SPLITS.get(str(split), str(split)), seed=seed, rank=0, world_size=1)
    return RootSplit(loader or "threaded", spec)


def create_loader(*args: Any, **options: Any) -> Any:
    """Return the loader of a ``RootSplit``; the arguments are those of timm's function.

    Raises LoaderError for an argument that cannot be honoured.
    """
    given = _bound(make_loader, *args, **options)

    def take(*names: str) -> list[Any]:
        return [given.pop(name) for name in names]

    dataset, batch_size, workers, distributed = take("dataset", "batch_size", "num_workers", "distributed")
    is_training, no_aug, prefetches, collate_fn = take("is_training", "no_aug", "use_prefetcher", "collate_fn")
    mean, std, device, dtype, fp16 = take("mean", "std", "device", "img_dtype", "fp16")
    probability, mode, count, split = take("re_prob", "re_mode", "re_count", "re_split")
    if not isinstance(dataset, RootSplit):
        raise LoaderError(f"{type(dataset).__name__} is not what create_dataset of feedline returns; import both")
    if collate_fn is not None and not prefetches:
        raise LoaderError("create_loader cannot honour collate_fn without use_prefetcher; leave one of them out")
    size = square_of(given.pop("input_size"), mean)
    cropping = cropping_of(given, size, is_training, no_aug, mean)
    _require_default("create_loader", make_loader, given, NO_PROCESSES | OF_CHOICES)
    own_rank: dict[str, Any] = {} if distributed else {"rank": 0, "world_size": 1}
    spec = LoaderSpec(
        root=dataset.spec.root,
        split=dataset.spec.split,
        seed=dataset.spec.seed,
        batch_size=batch_size,
        image_size=size,
        workers=workers,
        shuffle=is_training,
        drop_last=is_training,
        device=str(device) if torch.device(device).type == "cuda" and collate_fn is None else "cpu",
        **cropping,
        **own_rank,
    )
    erasing: dict[str, Any] = {
        "re_prob": probability if is_training and not no_aug else 0.0,
        "re_mode": mode,
        "re_count": count,
        "re_num_splits": 2 if split else 0,
    }
    form = None if prefetches else normalising(mean, std, erasing)
    loader = TorchDataLoader(
        open_loader(dataset.loader, spec), form=form, collate_fn=collate_fn, even_batches=not is_training
    )
    if not prefetches:
        return loader
    return PrefetchLoader(
        loader, mean=mean, std=std, device=torch.device(device), img_dtype=dtype, fp16=fp16, **erasing
    )


def _bound(function: Callable[..., Any], *args: Any, **options: Any) -> dict[str, Any]:
    """Return all arguments of a call of ``function`` by name, the defaults included."""
    call = inspect.signature(function).bind(*args, **options)
    call.apply_defaults()
    further = call.arguments.pop("kwargs", {})
    return {**call.arguments, **further}


def _require_default(name: str, function: Callable[..., Any], given: dict[str, Any], ignored: set[str]) -> None:
    """Raise LoaderError if an argument that is not ``ignored`` has another value than its default or nothing."""
    parameters = inspect.signature(function).parameters
    for argument, value in given.items():
        default = parameters[argument].default if argument in parameters else None
        if argument in ignored or not value or value == default or value == SAME.get(argument):
            continue
        raise LoaderError(f"{name} of feedline cannot honour {argument}={value!r}; leave it out")

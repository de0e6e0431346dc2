"""Checks of the fields of a spec: a word, a type or a number that means nothing is refused, never taken for a default.

What is unambiguous is converted: a str to a Path, a torch.device to its name, a numpy integer to an int.
"""

import operator
import os
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, cast

import torch

from ..prep import LoaderError
from .launch import read_launch
from .store.roots import given_root

OF_PROCESS = -1
"""The value of ``rank`` and ``world_size`` that stands for those of this process."""


def root_path_of(name: str, value: Any) -> Path:
    """Return the Path of a root; of one behind a URL, its copy in the cache, whose manifest is fetched.

    Raises StoreError if it cannot be fetched, and LoaderError for what is neither text nor a path."""
    if not isinstance(value, (str, PathLike)) or not str(value):
        raise LoaderError(f"{name} must be a path or a URL, got {value!r}")
    return given_root(value)


def text_of(name: str, value: Any) -> str:
    """Return ``value``. Raises LoaderError for what is no text."""
    if not isinstance(value, str) or not value:
        raise LoaderError(f"{name} must be a name, got {value!r}")
    return value


def names_of(name: str, value: Any) -> tuple[str, ...]:
    """Return ``value`` as a tuple of names. Raises LoaderError for other types, a single name among them."""
    if isinstance(value, str):
        raise LoaderError(f"{name} must be a tuple of names; write {name}=({value!r},)")
    if not isinstance(value, Iterable):
        raise LoaderError(f"{name} must be a tuple of names, got {value!r}")
    return tuple(text_of(f"each of {name}", part) for part in cast(Iterable[Any], value))


def integer_of(name: str, value: Any, least: int | None = None) -> int:
    """Return ``value`` as an int. Raises LoaderError for other types, bool and None among them, and below ``least``."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise LoaderError(f"{name} must be an integer, got {value!r}")
    if least is not None and number < least:
        raise LoaderError(f"{name} must be at least {least}, got {number}")
    return number


def flag_of(name: str, value: Any) -> bool:
    """Return ``value``. Raises LoaderError for what is neither True nor False."""
    if not isinstance(value, bool):
        raise LoaderError(f"{name} must be True or False, got {value!r}")
    return value


def choice_of(name: str, value: Any, choices: Sequence[str]) -> Any:
    """Return ``value``. Raises LoaderError, which lists the choices, for another word."""
    if not isinstance(value, str) or value not in choices:
        raise LoaderError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def device_of(value: Any) -> str:
    """Return the name of a torch device, given by its name or as torch.device. Raises LoaderError for another value."""
    try:
        return str(torch.device(value)) if isinstance(value, (str, torch.device)) else _no_device(value)
    except RuntimeError as error:
        raise LoaderError(f"device must be a device of torch, such as 'cpu' or 'cuda:0', got {value!r}") from error


def ranks_of(rank: Any, world_size: Any) -> tuple[int, int]:
    """Return the checked rank and world size; ``OF_PROCESS`` stands for those of this process, both together.

    They are those of torch.distributed's default group, if there is one, else those that torchrun has put into the
    environment, else 0 of 1. Raises LoaderError if only one of the two is given and the process has others.
    """
    rank, world_size = integer_of("rank", rank, OF_PROCESS), integer_of("world_size", world_size, OF_PROCESS)
    own = _ranks_of_process()
    if rank == OF_PROCESS and world_size == OF_PROCESS:
        return own
    if OF_PROCESS in (rank, world_size) and own != (0, 1):
        given, missing = ("rank", "world_size") if world_size == OF_PROCESS else ("world_size", "rank")
        raise LoaderError(f"{given} is given without {missing}; give both, or neither to take those of this process")
    rank, world_size = max(rank, 0), 1 if world_size == OF_PROCESS else integer_of("world_size", world_size, 1)
    if rank >= world_size:
        raise LoaderError(f"rank must be in 0..{world_size - 1}, got {rank}")
    return rank, world_size


def _ranks_of_process() -> tuple[int, int]:
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    if "TORCHELASTIC_RUN_ID" in os.environ:  # under torchrun, before init_process_group
        launch = read_launch()
        return launch.rank, launch.size
    return 0, 1


def _no_device(value: Any) -> str:
    raise LoaderError(f"device must be a device of torch, such as 'cpu' or 'cuda:0', got {value!r}")

"""The type of each setting: what is unambiguous is converted, everything else is refused before a run begins.

A checkpoint holds the settings, and reading it checks their types. So a run must not begin with a setting that its own
checkpoint could not be read with: a number of numpy, which a sweep by ``np.logspace`` gives, or 1.5 epochs.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from ...prep import TrainingError

WORDS = {
    "Input should": "must",
    "Tuple should": "must",
    "a valid integer": "an integer",
    "a valid ": "a ",
    "an instance of Path": "a path",
}
"""What pydantic says, and what it means here."""
HINTS = {"recipe": "; make the settings with recipe_config(read_recipe(NAME), root=..., out=...)"}


def as_typed(settings: Any, besides: str) -> Mapping[str, Any]:
    """Return the fields of a dataclass of settings as their types, except the field ``besides``.

    A number or an array of numpy or torch becomes a number or a tuple of Python, a list a tuple, text a Path where the
    field is one, and a torch.device its name. Raises TrainingError for any other type.
    """
    return {
        name: _converted(name, adapter, _plain(getattr(settings, name), is_path))
        for name, (adapter, is_path) in _types(type(settings)).items()
        if name != besides
    }


@cache
def _types(kind: type) -> dict[str, tuple[TypeAdapter[Any], bool]]:
    """Return the check of each field of ``kind``, and whether it is a path."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: (TypeAdapter(hint), Path in (hint, *get_args(hint))) for name, hint in hints.items()}


def _plain(value: Any, is_path: bool) -> Any:
    if isinstance(value, (np.generic, np.ndarray, torch.Tensor)):
        return _plain(cast(Any, value).tolist(), is_path)
    if isinstance(value, (list, tuple)):
        return tuple(_plain(part, is_path) for part in cast(Sequence[Any], value))
    if isinstance(value, torch.device):
        return str(value)
    return Path(value) if is_path and isinstance(value, (str, PathLike)) and str(value) else value


def _converted(name: str, adapter: TypeAdapter[Any], value: Any) -> Any:
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        raise TrainingError(f"{name} {needed_by(error)}, got {value!r}{HINTS.get(name, '')}") from error


def needed_by(error: ValidationError) -> str:
    """Return what pydantic asks for, as the end of a sentence that begins with the name of a setting."""
    text: str = error.errors(include_url=False)[0]["msg"].partition(" after validation")[0]
    for said, meant in WORDS.items():
        text = text.replace(said, meant)
    return text

"""Reading a recipe: one of feedline by its name, or a file of the user by its path.

A file is checked before it is used: its size, its syntax, every name in it, and the type of every value. An unknown
name is refused with the nearest known one. Whether a value is in range is checked when a run's settings are made.
"""

import hashlib
import json
import tomllib
from dataclasses import MISSING, fields
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from ...prep import TrainingError
from ...prep.base.typed import needed_by
from ..config import TrainConfig
from .recipe import Published, Recipe, Source

ROOM = __name__.rpartition(".")[0]
MOST_BYTES = 1 << 16  # the largest of feedline's own has 3 kB

# What a file may have at its top, and what it cannot say: these belong to one run, not to a way to train.
OF_FILE = ("summary", "source", "published", "verified", "unverified", "differences", "settings")
OF_BATCH = ("total_batch_size", "lr_rule")
OF_RUN = {
    "root": "the data set is an argument of the command",
    "out": "the run directory is the option --out",
    "resume": "a run is continued with --resume",
    "recipe": "a recipe cannot follow another one",
    "batch_size": "give total_batch_size, the images of a step over all ranks",
}


@cache
def recipe_names() -> tuple[str, ...]:
    """Return the names of feedline's recipes."""
    found = (entry.name for entry in files(ROOM).iterdir())
    return tuple(sorted((name.removesuffix(".toml") for name in found if name.endswith(".toml")), key=_order))


def _order(name: str) -> tuple[str, int]:
    """Return what sorts names by their text, and by the number at their end."""
    text = name.rstrip("0123456789")
    return text, int(name[len(text) :] or 0)


def read_recipe(name: str) -> Recipe:
    """Return a recipe of feedline, or the recipe in the file at the path ``name``.

    Raises TrainingError for an unknown name, and for a file that is not a recipe.
    """
    if name in recipe_names():
        return parse_recipe(name, (files(ROOM) / f"{name}.toml").read_bytes())
    path = Path(name)
    if path.suffix != ".toml" and not path.is_file():
        near = get_close_matches(name, recipe_names(), n=1, cutoff=0.4)
        meant = f"; did you mean {near[0]}? List" if near else "; list"
        raise TrainingError(f"there is no recipe {name!r}{meant} them with: feedline recipes")
    return parse_recipe(name, _read(path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise TrainingError(
            f"cannot read the recipe {path}: {reason}; list feedline's with: feedline recipes"
        ) from error
    if len(data) > MOST_BYTES:
        raise TrainingError(f"{path} is larger than {MOST_BYTES} bytes, so it is no recipe; use another file")
    return data


def parse_recipe(name: str, data: bytes) -> Recipe:
    """Return the recipe in the bytes of a TOML file. Raises TrainingError, which begins with ``name``."""
    try:
        text = data.decode("utf-8-sig")
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: of the decoding and of TOML
        raise TrainingError(f"{name} is not a TOML file: {error}; correct it") from error
    _require_names(name, content, OF_FILE)
    settings = _table(name, content, "settings")
    if not settings:
        raise TrainingError(f"{name} has no table [settings]; see how one looks with: feedline recipes tiny-64-plain")
    batch = {key: settings.pop(key) for key in OF_BATCH if key in settings}
    if "total_batch_size" not in batch:
        raise TrainingError(
            f"{name} does not say total_batch_size in [settings]; add the images of a step of all ranks"
        )
    types = get_type_hints(Recipe)
    values: dict[str, Any] = {"settings": {key: _setting(name, key, value) for key, value in settings.items()}}
    for key, kind in (("source", Source), ("published", Published)):
        if key in content:
            values[key] = _part(name, key, kind, _table(name, content, key))
    for key, value in (*content.items(), *batch.items()):
        if key not in ("settings", "source", "published"):
            values[key] = _checked(f"{name}: {key}", types[key], value)
    recipe = Recipe(**values, name=name, text=text, sha256=hashlib.sha256(data).hexdigest())
    if recipe.total_batch_size < 1:
        raise TrainingError(f"{name}: total_batch_size must be at least 1, got {recipe.total_batch_size}")
    return recipe


def _table(name: str, content: dict[str, Any], key: str) -> dict[str, Any]:
    found = content.get(key, {})
    if not isinstance(found, dict):
        raise TrainingError(f"{name}: {key} is not a table; write it as [{key}] with one value a line")
    return dict(found)


def _require_names(name: str, found: dict[str, Any], known: tuple[str, ...]) -> None:
    for key in found:
        if key not in known:
            near = get_close_matches(key, known, n=1, cutoff=0.4)
            meant = f"did you mean {near[0]}?" if near else f"use one of: {', '.join(known)}"
            raise TrainingError(f"{name} says {key!r}, which a recipe does not have; {meant}")


def _setting(name: str, key: str, value: Any) -> Any:
    if key in OF_RUN:
        raise TrainingError(f"{name} says {key!r}, which a recipe cannot; {OF_RUN[key]}")
    types = _setting_types()
    _require_names(f"{name}: settings", {key: value}, (*types, *OF_BATCH))
    return _checked(f"{name}: {key}", types[key], value)


@cache
def _setting_types() -> dict[str, Any]:
    """Return the type of every setting that a recipe may have."""
    hints = get_type_hints(TrainConfig)
    return {part.name: hints[part.name] for part in fields(TrainConfig) if part.name not in OF_RUN}


def _part(name: str, key: str, kind: type, found: dict[str, Any]) -> Any:
    """Return the table ``key`` as its dataclass."""
    _require_names(f"{name}: {key}", found, tuple(part.name for part in fields(kind)))
    missing = [part.name for part in fields(kind) if part.default is MISSING and part.name not in found]
    if missing:
        raise TrainingError(f"{name} has no {missing[0]} in [{key}]; add it, or leave the table out")
    return _checked(f"{name}: {key}", kind, found)


def _checked(where: str, kind: Any, value: Any) -> Any:
    """Return a value of TOML as the type ``kind``: an array is a tuple, an integer may be a float, text no number."""
    try:
        # From JSON, pydantic is strict and yet takes a list as a tuple and text as a path.
        return TypeAdapter(kind).validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = "".join(f".{part}" for part in first["loc"])
        raise TrainingError(f"{where}{at} {needed_by(error)}, got {first['input']!r}; correct it") from error

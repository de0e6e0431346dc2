"""The types of settings: what is unambiguous is converted, everything else is refused before work begins.

Settings are written into a manifest or a checkpoint, and reading that checks their types. So no work may begin with a
setting that its own result could not be read with: a number of numpy, which a sweep by ``np.logspace`` gives, or 1.5
epochs.
"""

from collections.abc import Collection, Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from .errors import FeedlineError

WORDS = {
    "Input should": "must",
    "Tuple should": "must",
    "a valid integer": "an integer",
    "a valid ": "a ",
    "an instance of Path": "a path",
}
"""What pydantic says, and what it means here."""


def set_types(settings: Any, refusal: type[FeedlineError], besides: Collection[str] = ()) -> None:
    """Make each field of a frozen dataclass its type, in its ``__post_init__``, except those of ``besides``.

    A number or an array of numpy or torch becomes a number or a tuple of Python, a list a tuple, and text a Path where
    the field is one. Raises ``refusal`` for any other type.
    """
    for name, (adapter, is_path) in _types(type(settings)).items():
        if name not in besides:
            value = _plain(getattr(settings, name), is_path)
            object.__setattr__(settings, name, _checked(name, adapter, value, refusal))


@cache
def _types(kind: type) -> dict[str, tuple[TypeAdapter[Any], bool]]:
    """Return the check of each field of ``kind``, and whether it is a path."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: (TypeAdapter(hint), Path in (hint, *get_args(hint))) for name, hint in hints.items()}


def _plain(value: Any, is_path: bool) -> Any:
    if hasattr(value, "tolist"):  # of numpy and torch, which are not imported for this
        return _plain(value.tolist(), is_path)
    if isinstance(value, (list, tuple)):
        return tuple(_plain(part, is_path) for part in cast(Sequence[Any], value))
    return Path(value) if is_path and isinstance(value, (str, PathLike)) and str(value) else value


def _checked(name: str, adapter: TypeAdapter[Any], value: Any, refusal: type[FeedlineError]) -> Any:
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        raise refusal(f"{name} {needed_by(error)}, got {value!r}") from error


def needed_by(error: ValidationError) -> str:
    """Return what pydantic asks for, as the end of a sentence that begins with the name of a setting."""
    text: str = error.errors(include_url=False)[0]["msg"].partition(" after validation")[0]
    for said, meant in WORDS.items():
        text = text.replace(said, meant)
    return text

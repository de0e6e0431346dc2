"""A look at the first sample of each split, before terabytes are read: which member is its image, where its class is.

Only ``.cls`` is taken without a word of the user, because it means nothing else. A ``.json``, a ``.txt`` or a folder
may hold the class or anything: the possible places are listed with the first sample's values, and the user chooses.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..archives.tar import read_member, walk
from ..base.errors import DatasetError
from ..base.names import is_class_id
from ..shards.read import is_part, listed
from ..shards.rules import IMAGES, JSON, SampleRule, is_image_extension, is_raw_extension, label_in, parsed
from ..shards.sidecars import split_key
from .sources import ForeignShards, refuse_gzipped

MAX_FIRST = 1024 * 1024  # bytes of a .json or .txt of a first sample
MOST_OPTIONS = 12
SHOWN = 40  # characters of a value


@dataclass(slots=True)
class FirstSample:
    """The first sample of a shard."""

    path: Path
    key: str
    extensions: list[str] = field(default_factory=list[str])
    """Of its members, in lower case."""
    texts: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """The data of its .cls, .json and .txt, by extension."""

    def __str__(self) -> str:
        return f"{self.path}: the sample {self.key!r} has {listed(self.extensions)}"


def choose_rule(found: ForeignShards, label_from: str | None, image_extension: str | None, command: str) -> SampleRule:
    """Return the rule by which the shards are read; ``command`` is the one to run again with an option.

    Raises DatasetError if the user has to choose, with the options, and for a choice that no first sample has.
    """
    firsts = [first for first in map(first_sample, _first_shards(found)) if first is not None]
    if not firsts:
        raise DatasetError(f"{found.place} holds no sample in the first shard of a split; give other shards")
    rule = SampleRule(label_from=label_from or "cls", image_extension=image_extension)
    for first in firsts:
        _check_image(first, rule, command)
    if not any(_label_of(first, rule, strict=label_from is not None) is not None for first in firsts):
        raise DatasetError(_ask_label(firsts[0], rule, label_from, command))
    return rule


def first_sample(path: Path) -> FirstSample | None:
    """Return the first sample of a shard, None if the shard is empty. Raises SourceError for a damaged tar."""
    refuse_gzipped(path)
    first: FirstSample | None = None
    with path.open("rb") as file:
        for member in walk(file, 0, path.stat().st_size, str(path)):
            if member.is_directory or not is_part(member.name):
                continue
            key, extension = split_key(member.name)
            if first is not None and key != first.key:
                break
            first = first or FirstSample(path, key)
            first.extensions.append(extension.lower())
            if extension.lower() in ("cls", "json", "txt") and member.size <= MAX_FIRST:
                first.texts[extension.lower()] = read_member(file, member, str(path))
    return first


def _first_shards(found: ForeignShards) -> list[Path]:
    return [found.place / names[0] for names in found.splits.values()]


def _check_image(first: FirstSample, rule: SampleRule, command: str) -> None:
    """Raise DatasetError unless a sample has exactly one image."""
    if len(rule.images_among(first.extensions)) == 1:
        return
    known = [name for name in first.extensions if is_image_extension(name) or is_raw_extension(name)]
    if not known:
        raise DatasetError(f"{first}, and none is an image ({', '.join(IMAGES)}); give shards of images")
    options = " or ".join(f"--image-extension {extension}" for extension in dict.fromkeys(known))
    raise DatasetError(f"{first}; say which is the image of a sample: {command} {options}")


def _label_of(first: FirstSample, rule: SampleRule, *, strict: bool) -> Any:
    data = first.texts.get(rule.label_extension or "")
    try:
        return label_in(rule, first.key, data, f"{first.path}: the sample {first.key!r}")
    except DatasetError:
        if strict:
            raise
        return None


def _ask_label(first: FirstSample, rule: SampleRule, label_from: str | None, command: str) -> str:
    without = f"no class at {label_from}" if label_from else "no .cls with a class"
    options = [f"--label-from {place} ({value})" for place, value in _options(first) if place != label_from]
    if not options:
        return f"{first} and {without}, and nothing else that may be its class; give shards with classes"
    more = ", ..." if len(options) > MOST_OPTIONS else ""
    return f"{first} and {without}; say where it stands: {command} with {', '.join(options[:MOST_OPTIONS])}{more}"


def _options(first: FirstSample) -> Iterator[tuple[str, str]]:
    """Yield the places that may hold a class, each with its value in the first sample."""
    if "json" in first.texts:
        for key, value in _scalars(parsed(first.texts["json"], f"{first.path}: the sample {first.key!r}"), ""):
            yield JSON + key, _short(value)
    for label_from in ("cls", "txt", "folder"):
        value = _label_of(first, SampleRule(label_from=label_from), strict=False)
        if value is not None:
            yield label_from, _short(value)


def _scalars(value: Any, above: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the keys of an object that hold a number or text that can be a class, and those of objects in it."""
    if not isinstance(value, dict) or depth > 2:
        return
    for key, held in value.items():  # pyright: ignore[reportUnknownVariableType]
        if isinstance(held, dict):
            yield from _scalars(held, f"{above}{key}.", depth + 1)
        elif (isinstance(held, int) and not isinstance(held, bool)) or (isinstance(held, str) and is_class_id(held)):
            yield f"{above}{key}", held


def _short(value: str | int) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def shown_classes(classes: Sequence[str]) -> str:
    """Return some classes as a message has them."""
    return ", ".join(_short(name) for name in classes[:3]) + (", ..." if len(classes) > 3 else "")

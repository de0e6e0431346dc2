"""Which members of a sample hold its image and its class.

feedline's own samples have one image and one ``.cls`` with the class index. Other tools write the class to ``.json``
or ``.txt``, or only into the folder of the key, as a number or as text, and some samples hold several images. A
``SampleRule`` says which members count, and ``LabelOf`` what a label that was read there means.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..base.errors import DatasetError
from ..base.manifest import ClassEntry, ShardManifest
from ..base.names import MAX_CLASS_ID, is_class_id
from ..images.files import SUFFIXES

IMAGES = tuple(suffix.removeprefix(".") for suffix in SUFFIXES)
"""The extensions of images, in lower case; of "input.jpg" the last part counts."""
RAW = "npy"
"""The extension of pixels as they are; in a sample with another image it is taken for something else."""
MAX_CLASSES = 1_000_000  # ImageNet-21k has 21,841; a bound, because the manifest names every class below the largest
MAX_LABEL = 4096  # bytes of a .cls
JSON = "json:"

Label = str | int | None
"""The class of a sample as it stands in the shard: text, a number, or None for a sample without one."""
LabelOf = Callable[[Label, str], int]
"""Return the class index of a label, -1 for none. Raises DatasetError, which begins with the second argument."""


@dataclass(frozen=True, kw_only=True)
class SampleRule:
    """Which members of a sample count. Raises DatasetError for a place that does not exist."""

    label_from: str = "cls"
    """Where the class stands: "cls", "txt", "folder", or "json:KEY" with a key such as "label" or "meta.label"."""
    image_extension: str | None = None
    """The extension of the image to take, such as "input.jpg", if samples hold several."""

    def __post_init__(self) -> None:
        if self.label_from not in ("cls", "txt", "folder") and not self.json_key:
            raise DatasetError(
                f"--label-from {self.label_from!r} is none of cls, txt, folder and json:KEY, such as json:label"
            )

    @property
    def json_key(self) -> str:
        """The key of "json:KEY", or ""."""
        return self.label_from.removeprefix(JSON) if self.label_from.startswith(JSON) else ""

    @property
    def label_extension(self) -> str | None:
        """The extension of the member that holds the class; None for the folder."""
        return "json" if self.json_key else None if self.label_from == "folder" else self.label_from

    def is_image(self, extension: str) -> bool:
        """Return whether a member with this extension, in lower case, is the image of its sample, or one of them."""
        if self.image_extension is not None:
            return extension == self.image_extension.lower().removeprefix(".")
        return is_image_extension(extension) or is_raw_extension(extension)

    def rank(self, extension: str) -> int:
        """Return which kind of image a member is by its extension; only those of the lowest kind of a sample count.

        "jpg" comes before "seg.png", and all images before "npy", which may also be features.
        """
        if self.image_extension is not None:
            return 0
        return 2 * is_raw_extension(extension) + ("." in extension)

    def images_among(self, extensions: Sequence[str]) -> list[int]:
        """Return the places of the images of a sample among the extensions of its members, in lower case."""
        found = [place for place, extension in enumerate(extensions) if self.is_image(extension)]
        least = min((self.rank(extensions[place]) for place in found), default=0)
        return [place for place in found if self.rank(extensions[place]) == least]


def is_image_extension(extension: str) -> bool:
    """Return whether an extension in lower case, such as "jpg" or "input.jpg", is that of an image."""
    return extension.rpartition(".")[2] in IMAGES


def is_raw_extension(extension: str) -> bool:
    """Return whether an extension in lower case, such as "npy" or "input.npy", is that of pixels as they are."""
    return extension.rpartition(".")[2] == RAW


def rule_of(manifest: ShardManifest) -> SampleRule:
    """Return the rule by which the shards of a manifest are read."""
    return SampleRule(label_from=manifest.label_from or "cls", image_extension=manifest.image_extension)


def label_in(rule: SampleRule, key: str, data: bytes | None, where: str) -> Label:
    """Return the label of a sample with this key; ``data`` is that of the member with ``rule.label_extension``.

    A class -1 means that there is none. Raises DatasetError for a member that holds no label.
    """
    if rule.label_from == "folder":
        found: Label = key.rpartition("/")[0].rpartition("/")[2].strip()
        found = None if found in ("", ".") else found
    elif data is None:
        return None
    elif rule.json_key:
        found = _in_json(rule.json_key, data, where)
    else:
        found = _text(data, where)
    if found in (-1, "-1"):
        return None
    if isinstance(found, str) and not is_class_id(found):
        raise DatasetError(
            f"{where} holds {found[:60]!r}, which is no class: a class has 1 to {MAX_CLASS_ID} characters in one line; "
            f"choose another --label-from"
        )
    if isinstance(found, int) and not 0 <= found < MAX_CLASSES:
        raise DatasetError(f"{where} has the class {found}, which is not in 0..{MAX_CLASSES - 1}; choose another key")
    return found


def value_at(value: Any, key: str) -> Any:
    """Return what a JSON object holds at a key; dots lead into objects. None if it is not there."""
    if isinstance(value, dict) and key in value:
        return value[key]  # pyright: ignore[reportUnknownVariableType]
    first, dot, rest = key.partition(".")
    return value_at(value.get(first), rest) if dot and isinstance(value, dict) else None  # pyright: ignore


def class_number(label: Label, where: str) -> int:
    """Return the class index that a ``.cls`` holds."""
    number = number_of(label)
    if number is None:
        raise DatasetError(
            f"{where} is {str(label if label is not None else -1)[:20]!r}, not a class index below {MAX_CLASSES}; "
            f"write the shards again, or take classes of any kind with: feedline prep webdataset SOURCE --out ROOT"
        )
    return number


def number_of(label: Label) -> int | None:
    """Return the class index that a label is, or None for other text."""
    if isinstance(label, str):
        is_number = label.isascii() and label.isdigit() and len(label) <= 9
        label = int(label) if is_number and int(label) < MAX_CLASSES else None
    return label


def are_numbers(labels: Sequence[str | int], rule: SampleRule) -> bool:
    """Return whether the labels are class indexes and no names: numbers in a ``.cls`` or of JSON."""
    if rule.label_from == "cls":
        return all(number_of(label) is not None for label in labels)
    return all(isinstance(label, int) for label in labels)


def labels_of(manifest: ShardManifest) -> LabelOf:
    """Return how the labels of a manifest's shards are read: each as the class of the manifest that it names."""
    if manifest.label_from is None:
        return class_number
    ids = {entry.id: number for number, entry in enumerate(manifest.classes)}
    numbered = _are_numbered(manifest.classes)

    def label_of(label: Label, where: str) -> int:
        if label is None:
            return -1
        number = number_of(label) if numbered and (isinstance(label, int) or manifest.label_from == "cls") else None
        found = ids.get(str(label)) if number is None else number
        if found is None or found >= len(ids):
            raise DatasetError(
                f"{where} has the class {label!r}, which the manifest does not have; prepare the shards again"
            )
        return found

    return label_of


def numbered_classes(count: int) -> tuple[ClassEntry, ...]:
    """Return the classes 0 to ``count`` - 1 of shards that number them; the ids are sorted as the numbers are."""
    digits = len(str(count - 1))
    return tuple(ClassEntry(id=f"{number:0{digits}d}", name=f"class {number}") for number in range(count))


def _are_numbered(classes: Sequence[ClassEntry]) -> bool:
    return all(number_of(entry.id) == number for number, entry in enumerate(classes))


def _text(data: bytes, where: str) -> str:
    if len(data) > MAX_LABEL:
        raise DatasetError(f"{where} has {len(data)} bytes, too many for a class; choose another --label-from")
    try:
        return data.removeprefix(b"\xef\xbb\xbf").decode().strip()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where} is no text in UTF-8, so it holds no class; choose another --label-from") from error


def _in_json(key: str, data: bytes, where: str) -> Label:
    found = value_at(parsed(data, where), key)
    if isinstance(found, bool) or not isinstance(found, str | int | None):
        kind = "a list of classes" if isinstance(found, list) else f"{json.dumps(found)[:40]}"
        raise DatasetError(f"{where} has {kind} at {key!r}, and a class is one number or text; choose another key")
    return found.strip() if isinstance(found, str) else found


def parsed(data: bytes, where: str) -> Any:
    """Return the value of a JSON member. Raises DatasetError for what is no JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where} is no JSON ({error}); write the shard again") from error

"""What the columns of a parquet file of images are: the image, its label, its split, and further values.

Hugging Face writes an image as a struct of bytes and path, and stores the names of a label's classes in the file's
metadata. Plain binary columns and labels of text or whole numbers are read too. What is not clear is not guessed: the
error shows the columns and the options.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..base.errors import SourceError
from ..base.names import is_class_id
from ..roots.lists import FILE, LABEL
from ..sources.naming import SplitNames
from .column_names import LABELS, SPLITS, plain_name
from .roles import free_names, listed_columns, quoted

INDEX = "__index_level_"
"""The beginning of the names under which pandas stores the numbers of its rows."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The roles of the columns of a file."""

    image: str
    packed: bool
    """Whether the image is a struct of bytes and path; else it is the bytes."""
    has_path: bool
    label: str
    class_ids: tuple[str, ...] = ()
    """By the number that the label column holds; empty if it holds texts, or numbers without names."""
    class_names: tuple[tuple[str, str], ...] = ()
    """(class id, name) where they differ."""
    split: str | None = None
    further: tuple[tuple[str, str], ...] = ()
    """(column, name under which it is kept) of the other columns."""
    left_out: tuple[str, ...] = ()
    """Columns that JSON cannot hold."""


def columns_of(schema: Any, path: Path, *, image: str | None, label: str | None, use_split: bool) -> Columns:
    """Return the roles of the columns of an arrow schema; ``image`` and ``label`` are the user's choices.

    ``use_split`` says whether a column of splits is used; else it is a further value. Raises SourceError, which shows
    the columns and the options, for columns that are missing or not clear.
    """
    types: dict[str, Any] = {field.name: _storage(field.type) for field in schema}
    if len(types) < len(schema.names):
        raise SourceError(f"{path} has two columns of one name; it has: {listed_columns(schema.names)}")
    for chosen in (image, label):
        if chosen is not None and chosen not in types:
            raise SourceError(f"{path} has no column {chosen!r}; it has: {_shown(types)}")
    features = _features(schema.metadata or {})
    image = image or _image_column(types, path)
    kind = types[image]
    if not _is_packed(kind) and not _is_binary(kind):
        raise SourceError(
            f"{path} has {kind} in {image!r}, where images as bytes are expected; it has: {_shown(types)}"
        )
    split = _split_column(types, {image, label}) if use_split else None
    label = label or _label_column(types, features, {image, split}, path, image)
    if label == image:
        raise SourceError(f"{path} cannot have its images and its labels in one column, {image!r}; choose two")
    _check_label(types[label], label, features, path)
    # Classes that are stored as texts need no names.
    ids, names = ((), ()) if _is_text(types[label]) else _classes(features.get(label), label, path)
    others = [name for name in types if name not in (image, label, split)]
    kept = [name for name in others if not _holds_bytes(types[name]) and not name.startswith(INDEX)]
    return Columns(
        image=image,
        packed=_is_packed(kind),
        has_path=_is_packed(kind) and kind.get_field_index("path") >= 0,
        label=label,
        class_ids=ids,
        class_names=names,
        split=split,
        further=tuple(free_names(kept, (FILE, LABEL)).items()),
        left_out=tuple(name for name in others if name not in kept),
    )


def is_split_column(values: Sequence[Any], splits: SplitNames) -> bool:
    """Return whether values of a column are names of splits."""
    return all(isinstance(value, str) and splits.of(value) for value in values)


def _features(metadata: Mapping[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """Return {column: what Hugging Face's own metadata says of it}."""
    try:
        found: Any = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): feature for name, feature in cast(dict[Any, Any], found).items() if isinstance(feature, dict)}


def _image_column(types: Mapping[str, Any], path: Path) -> str:
    for fits in (_is_packed, _is_binary):
        found = [name for name, kind in types.items() if fits(kind)]
        if len(found) == 1:
            return found[0]
        if found:
            options = " or ".join(f"--image-column {quoted(name)}" for name in found[:8])
            raise SourceError(f"{path} has images in several columns; say which to take: {options}")
    raise SourceError(
        f"{path} has no column of images as bytes; it has: {_shown(types)}; if it holds addresses, download the "
        f"images first; then give them with a list: feedline prep imagefolder IMAGES --labels FILE --out ROOT"
    )


def _split_column(types: Mapping[str, Any], others: set[str | None]) -> str | None:
    texts = [name for name, kind in types.items() if _is_text(kind) and name not in others]
    return next((name for word in SPLITS for name in texts if plain_name(name) == word), None)


def _label_column(
    types: Mapping[str, Any],
    features: Mapping[str, Mapping[str, Any]],
    others: set[str | None],
    path: Path,
    image: str,
) -> str:
    known = [name for name, kind in types.items() if name not in others and _is_label(kind)]
    columns = [name for name in known if _is_text(types[name]) or _is_whole(types[name])]
    typed = [name for name in columns if features.get(name, {}).get("_type") == "ClassLabel"]
    named = [name for name in known if plain_name(name) in LABELS]
    for found in (typed, named):
        if len(found) == 1:
            return found[0]
        if found:
            options = " or ".join(f"--label-column {quoted(name)}" for name in found[:8])
            raise SourceError(f"{path} has labels in several columns; say which are the classes: {options}")
    if len(columns) == 1:
        return columns[0]
    raise SourceError(
        f"{path} has the columns {_shown(types)}; say which holds the labels: --label-column C"
        + (f" (the images are in {image!r})" if columns else "")
    )


def _check_label(kind: Any, label: str, features: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    import pyarrow.types as of

    if of.is_list(kind) or of.is_large_list(kind) or of.is_fixed_size_list(kind):
        raise SourceError(
            f"{path} has several labels for each image in {label!r}, and each image needs a single class; choose "
            f"another column with --label-column (this one is then kept as a column)"
        )
    if not _is_label(kind):
        raise SourceError(f"{path} has {kind} in {label!r}, which is no label; choose another with --label-column")


def _classes(feature: Any, label: str, path: Path) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return the class ids and names of a label whose classes the metadata names; names that repeat get a number."""
    names: Any = cast(dict[str, Any], feature).get("names") if isinstance(feature, dict) else None
    if not isinstance(names, list) or not names:
        return (), ()
    texts = [" ".join(name.split()) if isinstance(name, str) else "" for name in cast(list[Any], names)]
    ids = [text or str(number) for number, text in enumerate(texts)]
    repeated = {text for text in ids if ids.count(text) > 1} if len(set(ids)) < len(ids) else set[str]()
    ids = [f"{text} ({number})" if text in repeated else text for number, text in enumerate(ids)]
    for text in ids:
        if not is_class_id(text):
            raise SourceError(f"{path} has a class {text[:80]!r} in {label!r}, which is no name of a class")
    if len(set(ids)) < len(ids):
        raise SourceError(f"{path} has two classes of one name in {label!r}; give each its own")
    return tuple(ids), tuple((one, text) for one, text in zip(ids, texts, strict=True) if text and one != text)


def _storage(kind: Any) -> Any:
    """Return what a type is stored as: of an extension or a dictionary, the values."""
    import pyarrow as pa

    while isinstance(kind, pa.BaseExtensionType | pa.DictionaryType):
        kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind.value_type
    return kind


def _is_packed(kind: Any) -> bool:
    import pyarrow.types as of

    at = kind.get_field_index("bytes") if of.is_struct(kind) else -1
    return at >= 0 and _is_binary(kind.field(at).type)


def _is_binary(kind: Any) -> bool:
    return str(kind) in ("binary", "large_binary", "binary_view")


def _is_text(kind: Any) -> bool:
    return str(kind) in ("string", "large_string", "string_view")


def _is_whole(kind: Any) -> bool:
    import pyarrow.types as of

    return of.is_integer(kind)


def _is_label(kind: Any) -> bool:
    """Whether a type can hold labels; pandas turns whole numbers with gaps into floats."""
    import pyarrow.types as of

    return _is_text(kind) or _is_whole(kind) or of.is_floating(kind) or of.is_boolean(kind)


def _holds_bytes(kind: Any) -> bool:
    """Whether a type has bytes anywhere in it, which JSON does not have."""
    import pyarrow.types as of

    kind = _storage(kind)
    if of.is_struct(kind):
        return any(_holds_bytes(field.type) for field in kind)
    if of.is_map(kind):
        return _holds_bytes(kind.key_type) or _holds_bytes(kind.item_type)
    if hasattr(kind, "value_type"):  # the lists
        return _holds_bytes(kind.value_type)
    return of.is_union(kind) or "binary" in str(kind)


def _shown(types: Mapping[str, Any]) -> str:
    return listed_columns([f"{name} ({str(kind)[:60]})" for name, kind in types.items()])

"""What a source of labelled images holds: the form that folders, archives, lists and parquet files all take.

The images are an iterator, because a parquet file or a gzipped tar can only be read from front to back, and because
the images of a folder need not be in memory to be counted.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..sources.reader import Location, Reader

NO_COLUMNS: Mapping[str, Any] = {}


class LabelledImage(NamedTuple):
    """One image of a source."""

    name: str
    """Its path in the source, with forward slashes; of a row without a name, one made of its position."""
    size: int
    data: Location | bytes
    """Of a source that is read from front to back, the bytes; else where they lie."""
    where: str
    """Its source, name and offset, for messages."""
    split: str
    """train, val or test; "" if the source does not say."""
    label: str
    """The id of its class; "" if it has none."""
    columns: Mapping[str, Any] = NO_COLUMNS
    """Its further values, as JSON has them."""
    below: str = ""
    """The end of ``name`` that lies below its class folder, if it lies in one."""


@dataclass(frozen=True, kw_only=True)
class LabelledSource:
    """One recognised source. Recognising it reads names and headers only."""

    path: Path
    layout: str
    """Such as "imagefolder" or "parquet", for the manifest and messages."""
    images: Callable[[Reader], Iterator[LabelledImage]]
    """Read the images in the order in which they lie."""
    listing: Callable[[Reader], Iterator[LabelledImage]] | None = None
    """The same images in the same order, with empty ``data`` where that saves reading; None: ``images`` is cheap."""
    sized: bool = True
    """Whether ``listing`` knows the size of each image; else it gives their mean."""
    class_ids: tuple[str, ...] = ()
    """The ids of all classes in the order of the source's own class indexes; empty if it does not number them."""
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names of classes by id, where they differ from the id."""
    left_out: tuple[str, ...] = ()
    """What was not taken, counted by kind, such as "2 .txt"."""
    notes: tuple[str, ...] = ()
    """Sentences for the user about what was recognised."""
    streamed: bool = False
    """Whether it can only be read from front to back."""

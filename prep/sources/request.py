"""What to take from the sources: which splits and classes, and how carefully they are compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .naming import SPLITS

Checksum = Literal["size", "md5", "none"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to take from the sources, and how carefully."""

    command: str
    """Such as "prep imagenet"."""
    splits: tuple[str, ...] = SPLITS
    checksum: Checksum = "size"
    """What is compared with the official release if all 1000 classes are there: counts and sizes; md5 as well;
    or nothing."""
    classes: frozenset[str] | None = None
    """The wnids to take; None for all."""
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names of classes that replace the bundled ones."""
    split_from: Mapping[str, str] = field(default_factory=dict[str, str])
    """{name of a folder or archive: split} for names that do not say it."""
    delete_source: bool = False
    """Delete the archives after everything was verified."""

    def keeps(self, split: str, wnid: str) -> bool:
        """Whether an image is wanted."""
        return split in self.splits and (self.classes is None or not wnid or wnid in self.classes)

"""What ``feedline prep`` was asked to do with labelled images, apart from where they come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class LabelledRequest:
    """What to make of labelled sources; the same for folders, lists and parquet files."""

    command: str
    """Such as "prep imagefolder"."""
    val_fraction: float | None = None
    """The part of each class's training images that becomes val."""
    seed: int = 0
    """Of the choice for val."""
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    """Options on which the result depends besides, so that no other command continues an unfinished run."""
    dataset: str = ""
    """The data set's name, which shards are named by; made of the first source's name if empty."""

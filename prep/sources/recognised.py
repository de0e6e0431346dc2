"""What recognising gives: the parts of the sources, their label lists, and what was not taken."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..base.shell import shell_word
from .label_lists import (
    LabelList,
)
from .naming import (
    SplitNames,
)
from .parts import Part
from .reading import LeftOut
from .strange import (
    ForeignError,
)


@dataclass(frozen=True)
class Recognised:
    """All that was recognised in the sources."""

    parts: tuple[Part, ...]
    label_lists: tuple[LabelList, ...]
    ignored: tuple[str, ...] = ()
    """What else lay in the folders, a sentence each."""
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names of classes in the source's own lists."""
    left_out: Mapping[Path, Counter[str]] = field(default_factory=LeftOut)
    """{source: files that are not taken, by kind}; of tars complete after their images were read, or if ``recognise``
    was told to count."""
    splits: SplitNames = field(default_factory=SplitNames)
    """The names of splits; which of the chosen ones occurred is complete when ``left_out`` is."""


class TinyImagenetError(ForeignError):
    """``path`` holds Tiny-ImageNet, which ``recognise_tiny`` takes."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is Tiny-ImageNet; prepare it with: feedline prep tiny-imagenet {shell_word(path)} --out ROOT"
        )
        self.path = path

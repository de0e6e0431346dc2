"""What holds for all sources of one command: which split a name says, what is passed over, what is counted."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..base.errors import SourceError
from .naming import SPLITS, Place, SplitNames, class_above


class LeftOut(Mapping[Path, Counter[str]]):
    """{source: files that are not taken, by kind}, such as {Path("a.zip"): {".avif": 2, ".xml": 1}}.

    It grows while archives are read. A piece of a source that is read again replaces its counts.
    """

    def __init__(self) -> None:
        self._pieces: dict[Path, dict[str, Counter[str]]] = {}

    def note(self, source: Path, piece: str, kinds: Counter[str]) -> None:
        """Set what is left out of a piece of a source."""
        if kinds or piece in self._pieces.get(source, ()):
            self._pieces.setdefault(source, {})[piece] = kinds

    def __getitem__(self, source: Path) -> Counter[str]:
        return sum(self._pieces[source].values(), Counter[str]())

    def __iter__(self) -> Iterator[Path]:
        return iter(list(self._pieces))

    def __len__(self) -> int:
        return len(self._pieces)


def listed(kinds: Mapping[str, int]) -> str:
    """Return counts as text: "4 files: 2 .avif, 1 .xml, 1 no suffix"."""
    files = sum(kinds.values())
    ordered = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    return f"{files} file{'s' * (files != 1)}: {', '.join(f'{count} {kind}' for kind, count in ordered)}"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the sources of one command are read."""

    splits: SplitNames = field(default_factory=SplitNames)
    skip: Path | None = None
    """A folder to pass over: the output."""
    count: bool = False
    """Whether archives are read through to count what is left out of them; else that is known after their images."""
    left_out: LeftOut = field(default_factory=LeftOut)
    command: str = "prep imagenet"
    """The command without "feedline", for messages."""


class ClassHolders:
    """The folders that hold class folders: several with the same classes are splits, and their names must say which."""

    def __init__(self, where: str, command: str) -> None:
        self._where, self._command = where, command
        self._classes: dict[tuple[str, ...], set[str]] = {}
        self._guessed: set[tuple[str, ...]] = set()
        self._last = ""

    def add(self, name: str, found: Place) -> bool:
        """Note the class folder of an image; return whether ``check`` could now find something new."""
        folder, _, _ = name.rpartition("/")
        if folder == self._last:
            return False
        self._last = folder
        above = folder.split("/")
        if class_above(above) != found.wnid:
            return False
        wnid, above = found.wnid, above[: above.index(found.wnid)]
        holder = tuple(part for part in above if part != ".")
        classes = self._classes.setdefault(holder, set())
        if found.guessed:
            self._guessed.add(holder)
        if wnid in classes:
            return False
        classes.add(wnid)
        return bool(self._guessed)

    @property
    def guessed(self) -> bool:
        """Whether the split of some images is the default one, because no name says it."""
        return bool(self._guessed)

    def check(self) -> None:
        """Raise SourceError if folders with the same classes have names that do not say their splits."""
        unknown: set[str] = set()
        for one in self._guessed:
            for other, classes in self._classes.items():
                if other != one and classes & self._classes[one]:
                    unknown |= self._differing(one, other)
        if unknown:
            raise unnamed_splits(self._where, sorted(unknown), self._where, self._command)

    def _differing(self, one: tuple[str, ...], other: tuple[str, ...]) -> set[str]:
        """Return the names that tell two folders apart and name no split."""
        for mine, theirs in zip(one, other, strict=False):
            if mine != theirs:
                return {mine, theirs} if other in self._guessed else {mine}
        longer, shorter = (one, other) if len(one) > len(other) else (other, one)
        return {longer[len(shorter)]} if longer in self._guessed else set()


def command_line(command: str, sources: object, *options: str) -> str:
    """Return the command to give, such as "feedline shard data.tar", for a message."""
    out = () if command == "shard" else ("--out ROOT",)
    return " ".join(("feedline", command, str(sources), *out, *options))


def unnamed_splits(where: str, names: list[str], sources: str, command: str) -> SourceError:
    """Return the error for folders or archives of the same classes whose names do not say their splits."""
    listed = ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    options = [f"--split-from {_quoted(f'{name}=SPLIT')}" for name in names[:8]]
    return SourceError(
        f"{where} holds the same classes in several places, and the names {listed} do not say which split they are; "
        f"say it, with train, val or test for SPLIT: {command_line(command, sources, *options)}"
    )


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text else text


def check_choices(chosen: Mapping[str, str]) -> None:
    """Raise SourceError for a choice of a split that does not exist."""
    for name, split in chosen.items():
        if split not in SPLITS:
            raise SourceError(f"{name} cannot be of split {split!r}; the splits are {', '.join(SPLITS)}")

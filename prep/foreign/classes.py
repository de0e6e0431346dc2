"""The classes of shards that other tools wrote: numbers stay what they are, names are sorted.

A shard is read before the classes of all shards are known. So each shard numbers the labels in it as they occur, and
those numbers become class indexes when all shards are read.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..base.manifest import ClassEntry
from ..base.progress import Notice
from ..shards.rules import Label, SampleRule, are_numbers, number_of, numbered_classes
from .survey import shown_classes


@dataclass(slots=True)
class LabelTable:
    """The labels of one shard, numbered as they occur."""

    numbers: dict[str | int, int] = field(default_factory=dict[str | int, int])
    first_unlabelled: str = ""
    """Where the first sample without a class stands."""

    def number(self, label: Label, where: str) -> int:
        """Return the number of a label in this shard, -1 for none."""
        if label is None:
            self.first_unlabelled = self.first_unlabelled or where
            return -1
        return self.numbers.setdefault(label, len(self.numbers))


@dataclass(frozen=True)
class Classes:
    """The classes of a set."""

    entries: tuple[ClassEntry, ...]
    index: Mapping[str | int, int]
    """The class index of each label."""


def classes_of(labels: Iterable[str | int], rule: SampleRule, names: Mapping[str, str]) -> Classes:
    """Return the classes of all labels of a set; ``names`` are those of the classes by id."""
    held = list(dict.fromkeys(labels))
    if are_numbers(held, rule):
        index = {label: number for label in held if (number := number_of(label)) is not None}
        entries = numbered_classes(max(index.values(), default=-1) + 1)
        return Classes(with_names(entries, names), index)
    ids = sorted({str(label) for label in held})
    places = {text: number for number, text in enumerate(ids)}
    entries = tuple(ClassEntry(id=text, name=text) for text in ids)
    return Classes(with_names(entries, names), {label: places[str(label)] for label in held})


def with_names(entries: Sequence[ClassEntry], names: Mapping[str, str]) -> tuple[ClassEntry, ...]:
    """Return classes with their names from {id: name}. Of a numbered class, "7" is the id "007" too."""
    plain = {label.lstrip("0") or "0": name for label, name in names.items() if label.isdigit()}

    def name_of(entry: ClassEntry) -> str:
        return names.get(entry.id) or plain.get(entry.id.lstrip("0") or "0", entry.name)

    return tuple(replace(entry, name=name_of(entry)) for entry in entries)


def report_classes(classes: Classes, counts: Counter[int], notice: Notice) -> None:
    """Report what a user may not expect of the classes; ``counts`` are the samples by class index, of all splits."""
    ids = [entry.id for entry in classes.entries]
    empty = [label for number, label in enumerate(ids) if not counts[number]]
    if empty:
        notice(f"{len(empty)} of the {len(ids)} classes have no sample, such as {empty[0]}")
    if len(ids) - len(empty) == 1:
        notice(f"all samples are of one class, {shown_classes(ids[-1:])}; a training needs two")
    elif 2 * len(ids) > counts.total() > 20:
        notice(
            f"{counts.total()} samples have {len(ids)} classes, such as {shown_classes(ids)}: "
            f"if these are captions or keys, choose another --label-from"
        )

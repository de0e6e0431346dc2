"""What becomes of labelled images: their splits, class indexes and names on the disk, before a byte is written.

The sources are listed once, without reading an image. Then everything is known that could be wrong with the names: a
plan is made or an error raised. What a plan says is a function of the names and the request alone.
"""

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ..base.errors import SourceError
from ..base.names import is_class_id
from ..base.progress import Progress
from ..labelled.images import LabelledSource
from ..labelled.request import LabelledRequest
from ..sources.naming import SPLITS
from ..sources.reader import Reader
from .disk_names import difference, file_names, flattened, folder_names, twins
from .rows import Rows

UNLABELLED = -1
"""The class index of the images of a test split without labels."""
REPORTED = 4096  # images between two reports of progress

Group = tuple[str, int]
"""Split and class index."""


@dataclass
class Plan:
    """The images of all sources, by split and class."""

    sources: Sequence[LabelledSource]
    rows: list[Rows]
    classes: tuple[str, ...] = ()
    """The class ids by class index."""
    numbered: bool = False
    """Whether the order of the classes is the source's own."""
    groups: dict[Group, list[tuple[int, "array[int]"]]] = field(default_factory=dict)
    """[(source, its rows)] of each class in each split that has images."""
    _files: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> "Plan":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    @property
    def splits(self) -> list[str]:
        """The splits that have images."""
        held = {split for split, _ in self.groups}
        return [split for split in SPLITS if split in held]

    def folders(self) -> Mapping[str, str]:
        """Return {class id: the name of its folder when it is copied}."""
        return folder_names(self.classes)

    def members(self, group: Group) -> list[tuple[int, int]]:
        """Return [(source, row)] of the images of a group, in the order of the sources."""
        return [(source, row) for source, rows in self.groups.get(group, ()) for row in rows]

    def targets(self, group: Group) -> list[tuple[str, int, int]]:
        """Return [(name in its class folder, source, row)] of a group's images, sorted by that name."""
        members = self.members(group)
        names = file_names([self.rows[source][row].below for source, row in members])
        return sorted((name, source, row) for name, (source, row) in zip(names, members, strict=True))

    def sizes(self, split: str) -> Iterator[int]:
        """Yield the bytes of each image of a split."""
        for (of, _), held in self.groups.items():
            if of == split:
                yield from (self.rows[source].size(row) for source, rows in held for row in rows)

    def per_class(self, split: str) -> tuple[int, ...]:
        """Return the images of each class in a split; nothing if it has no labels."""
        if (split, UNLABELLED) in self.groups:
            return ()
        return tuple(sum(len(rows) for _, rows in self.groups.get((split, label), ())) for label in self.class_indexes)

    @property
    def class_indexes(self) -> range:
        return range(len(self.classes))

    def columns(self, split: str) -> tuple[str, ...]:
        """Return the names of the further values of a split's images."""
        held = {source for (of, _), parts in self.groups.items() if of == split for source, _ in parts}
        return tuple(dict.fromkeys(name for source in sorted(held) for name in self.rows[source].column_names))

    def digest(self, source: int, split: str) -> str:
        """Return the sha256 of what a source has of a split: names, sizes, classes and columns."""
        digest = hashlib.sha256()
        for label in (UNLABELLED, *self.class_indexes):
            mine = [rows for number, rows in self.groups.get((split, label), ()) if number == source]
            name = self.classes[label] if label != UNLABELLED else ""
            held = [(self.rows[source][row], row) for rows in mine for row in rows]
            for image, row in sorted(held):
                line = f"{name}\0{image.below}\0{image.size}\0{dict(self.rows[source].columns(row)) or ''}\n"
                digest.update(line.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def make_plan(
    sources: Sequence[LabelledSource], request: LabelledRequest, progress: Progress, *, copied: bool = True
) -> Plan:
    """List the sources and return what becomes of their images. The plan must be closed.

    Raises SourceError for images that cannot be told apart, classes that are none, and splits without images.
    """
    plan = Plan(sources, [])
    try:
        _list(plan, request, progress)
        _check_classes(plan, copied)
        _check_images(plan, copied)
    except BaseException:
        plan.__exit__()
        raise
    return plan


def _list(plan: Plan, request: LabelledRequest, progress: Progress) -> None:
    labels: dict[str, int] = {}
    found: dict[tuple[str, str], dict[int, array[int]]] = {}
    for number, source in enumerate(plan.sources):
        rows = plan._files.enter_context(Rows(source.path, sized=source.sized))  # pyright: ignore[reportPrivateUsage]
        plan.rows.append(rows)
        with Reader(buffered=True) as reader:
            for image in (source.listing or source.images)(reader):
                labels.setdefault(image.label, len(labels))
                found.setdefault((image.split, image.label), {}).setdefault(number, array("Q")).append(len(rows))
                rows.add(image)
                if len(rows) % REPORTED == 0:
                    progress("images listed", len(rows), len(rows) + 1)
    plan.classes, plan.numbered = _classes(plan.sources, labels)
    indexes = {name: index for index, name in enumerate(plan.classes)} | {"": UNLABELLED}
    has_val = any(split == "val" for split, _ in found)
    if request.val_fraction is not None and has_val:
        raise SourceError("the sources have a val split already; leave --val-fraction out")
    for (split, label), parts in found.items():
        group = (split or "train", indexes[label])
        if request.val_fraction is not None and group[0] == "train":
            continue
        for source, rows in parts.items():
            plan.groups.setdefault(group, []).append((source, rows))
    if request.val_fraction is not None:
        _divide(plan, found, indexes, request)
    if not plan.groups:
        raise SourceError(f"{_listed(plan.sources)} holds no image; give others")


def _classes(sources: Sequence[LabelledSource], labels: Mapping[str, int]) -> tuple[tuple[str, ...], bool]:
    """Return the class ids in order, and whether the order is the sources' own."""
    ids = labels.keys() - {""}
    orders = {source.class_ids for source in sources}
    if len(orders) > 1:
        other = next(source for source in sources if source.class_ids != sources[0].class_ids)
        raise SourceError(f"{sources[0].path} and {other.path} number different classes; give one of them at a time")
    (order,) = orders or {()}
    if order:
        return order, True
    return tuple(sorted(ids)), False


def _divide(
    plan: Plan,
    found: Mapping[tuple[str, str], Mapping[int, "array[int]"]],
    indexes: Mapping[str, int],
    request: LabelledRequest,
) -> None:
    """Divide the training images of each class into train and val, by a hash of the seed, the class and the name."""
    fraction = request.val_fraction or 0
    if not 0 < fraction < 1:
        raise SourceError(f"--val-fraction {fraction} is no fraction; give one between 0 and 1, such as 0.1")
    by_class: dict[str, list[tuple[int, int]]] = {}
    for (split, label), parts in found.items():
        if split in ("", "train"):
            by_class.setdefault(label, []).extend((source, row) for source, rows in parts.items() for row in rows)
    most = 0
    for label, images in by_class.items():
        start = hashlib.blake2b(f"{request.seed}\0{label}\0".encode("utf-8", "surrogatepass"), digest_size=8)
        keyed: list[tuple[bytes, str, int, int]] = []
        for source, row in images:
            name = plan.rows[source][row].below
            key = start.copy()
            key.update(name.encode("utf-8", "surrogatepass"))
            keyed.append((key.digest(), name, source, row))
        keyed.sort()
        count = min(len(keyed) - 1, int(len(keyed) * fraction + 0.5))
        most = max(most, len(keyed))
        for split, part in (("val", keyed[:count]), ("train", keyed[count:])):
            by_source: dict[int, array[int]] = {}
            for _, _, source, row in part:
                by_source.setdefault(source, array("Q")).append(row)
            for source, rows in by_source.items():
                plan.groups.setdefault((split, indexes[label]), []).append((source, array("Q", sorted(rows))))
    if "val" not in plan.splits:
        raise SourceError(
            f"--val-fraction {fraction} takes no image: the largest class has {most}; give a larger fraction"
        )


def _check_classes(plan: Plan, copied: bool) -> None:
    for name in plan.classes:
        if not is_class_id(name):
            raise SourceError(
                f"{name[:80]!r} cannot be the name of a class: it must have 1 to 1000 printable characters and no "
                f"space at its ends; rename the class"
            )
    found = twins(plan.classes) if copied and not plan.numbered else None
    if found:
        raise SourceError(
            f"the classes {found[0]!r} and {found[1]!r} differ only {difference(*found)}, so that they are one folder "
            f"on Windows and macOS; rename one of them, or merge them"
        )
    for split in plan.splits:
        labelled = any(of == split and label != UNLABELLED for of, label in plan.groups)
        if (split, UNLABELLED) in plan.groups and (labelled or split != "test"):
            source, row = plan.members((split, UNLABELLED))[0]
            raise SourceError(
                f"{plan.rows[source].where(row)} has no class, and {'others of ' if labelled else ''}{split} must have "
                f"one; name the classes in a list: --labels FILE"
            )


def _check_images(plan: Plan, copied: bool) -> None:
    """Raise SourceError for two images of one name, and, if they are copied, for names that only some disks tell apart.

    Images of a class may come from several sources.
    """
    for split, label in plan.groups:
        held: dict[str, tuple[int, int]] = {}
        for source, row in plan.members((split, label)):
            name = plan.rows[source][row].below
            first = held.setdefault(name, (source, row))
            if first != (source, row):
                one, other = plan.rows[first[0]].where(first[1]), plan.rows[source].where(row)
                again = f"{other} is there twice" if one == other else f"{one} and {other} are one image"
                raise SourceError(f"{again} of {split}; give each image once")
        if copied and (found := twins(held)):
            one, other = (plan.rows[source].where(row) for source, row in (held[name] for name in found))
            raise SourceError(
                f"{one} and {other} differ only {difference(*found)}, so that one of them would be lost on Windows and "
                f"macOS; rename one"
            )


def exceptions(plan: Plan) -> dict[tuple[int, int], str]:
    """Return {(source, row): name on the disk} where that is not the flattened path."""
    return {
        (source, row): name
        for group in plan.groups
        for name, source, row in plan.targets(group)
        if name != flattened(plan.rows[source][row].below)
    }


def _listed(sources: Sequence[LabelledSource]) -> str:
    paths: list[Path] = list(dict.fromkeys(source.path for source in sources))
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"

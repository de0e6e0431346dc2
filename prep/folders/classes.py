"""Which classes a root has: those of train and val together, and what is reported where they differ."""

from collections.abc import Iterable, Sequence

from ..base.errors import SourceError
from ..base.manifest import Manifest
from ..base.progress import Notice
from ..labels.imagenet import wnids
from ..sources.agreement import empty_classes, units_of
from ..sources.naming import FLAT_TEST, FLAT_VAL
from ..sources.parts import Counts, Part
from ..sources.request import Request

SHOWN = 5  # class ids in a message


def note_empty_classes(parts: Sequence[Part], counts: Counts, request: Request, notice: Notice) -> None:
    """Add the class folders without an image that lie in a source's train, with no images, to ``counts``.

    An empty folder of another split is no class, because train says which classes there are.
    """
    if not any(folder.startswith("train/") for folder in counts):
        return
    empty = sorted(wnid for part in parts for wnid in empty_classes(part, request) if f"train/{wnid}" not in counts)
    for wnid in empty:
        counts[f"train/{wnid}"] = (0, 0)
    if empty:
        notice(f"{_number(empty)} without an image in train {_is(empty)} kept: {listed(empty)}")


def note_differences(manifest: Manifest, notice: Notice) -> None:
    """Report the classes that only train or only another labelled split has; the class indexes count both."""
    held = {
        split: {entry.id for entry, images in zip(manifest.classes, found.per_class, strict=True) if images}
        for split, found in manifest.splits.items()
        if found.per_class
    }
    for other in held.keys() - {"train"} if "train" in held else ():
        for one, another in (("train", other), (other, "train")):
            if only := sorted(held[one] - held[another]):
                notice(f"{_number(only)} {_is(only)} in {one} and not in {another}: {listed(only)}")


def check_listed(parts: Sequence[Part], before: Manifest | None, request: Request) -> None:
    """Raise SourceError if the names in the sources show, before an image is read, that a requested class is missing.

    The classes of an archive that has to be read through are not known yet.
    """
    known = {FLAT_VAL: frozenset(wnids()), FLAT_TEST: frozenset[str]()}
    found = {entry.id for entry in (before.classes if before else ())}
    for part in parts:
        for unit in units_of(part, request):
            if unit.shared and part.layout not in known:
                return
            found |= known[part.layout] if unit.shared else {unit.folder.partition("/")[2]}
    check_asked(request, found)


def check_asked(request: Request, classes: Iterable[str]) -> None:
    """Raise SourceError if a requested class is in none of the sources."""
    asked = frozenset[str]() if _is_unlabelled(request) else request.classes or frozenset()
    if missing := sorted(asked - set(classes)):
        raise SourceError(
            f"the sources hold no image of {len(missing)} of the {len(asked)} classes of --classes: "
            f"{listed(missing)}; correct the file, or give the sources that hold them"
        )


def check_not_empty(counts: Counts, request: Request) -> None:
    """Raise SourceError if no image was found."""
    if not any(files for files, _ in counts.values()):
        classes = " of the classes of --classes" if request.classes is not None else ""
        raise SourceError(f"the sources hold no image of {', '.join(request.splits)}{classes}; give others")


def listed(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _is_unlabelled(request: Request) -> bool:
    """Whether only test images are requested, which have no class."""
    return set(request.splits) <= {"test"}


def _number(classes: Sequence[str]) -> str:
    return "1 class" if len(classes) == 1 else f"{len(classes)} classes"


def _is(classes: Sequence[str]) -> str:
    return "is" if len(classes) == 1 else "are"

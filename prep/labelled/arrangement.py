"""From the folders of a source to splits and classes, as torchvision's ImageFolder means them.

The class of an image is the first folder below its split, or below the source if there are no splits; what lies deeper
belongs to it. A folder that only holds one other is passed through. Names of splits are those of ``sources.naming``.
What can be meant in two ways is asked about.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..base.errors import SourceError
from ..base.shell import shell_word
from ..sources.naming import SPELLINGS, SplitNames

WRAPPERS = frozenset(("images", "image", "imgs", "img"))
"""Folders that hold images and name no class."""
SHOWN = 4  # names in a message


class Placed(NamedTuple):
    """What the images in a folder are."""

    split: str
    label: str
    cut: int
    """Characters of the image's name before its path below the class folder."""


@dataclass
class Arrangement:
    """What the images in each folder are; a folder that is not in ``places`` is in no class folder."""

    places: dict[str, Placed] = field(default_factory=dict[str, Placed])
    notes: list[str] = field(default_factory=list[str])
    empty: list[str] = field(default_factory=list[str])
    """Folders in which classes lie and that hold no image."""


class _Tree:
    """The folders that hold images, directly or below them."""

    def __init__(self, folders: Mapping[str, int]) -> None:
        self.images = folders
        self._children: dict[str, set[str]] = {}
        for folder in folders:
            parts = folder.split("/") if folder else []
            for depth, name in enumerate(parts):
                self._children.setdefault("/".join(parts[:depth]), set()).add(name)

    def children(self, folder: str) -> list[str]:
        return sorted(self._children.get(folder, ()))

    def below(self, folder: str) -> Iterator[str]:
        """Yield the folders with images below a folder, itself not included."""
        start = f"{folder}/" if folder else ""
        return (name for name in self.images if name and name.startswith(start))


def arrange(
    folders: Mapping[str, int],
    subfolders: Callable[[str], set[str]],
    source: str,
    splits: SplitNames,
    default: str,
    depth: int | None,
) -> Arrangement:
    """Return what the images of a source's folders are.

    ``folders`` is {folder: images}, ``subfolders`` returns the names of all folders in one, ``default`` is the split
    that the source's own name says, ``depth`` how many folders make a class (None: 1, and doubts are asked about).

    Raises SourceError for images without class folders, and for folders that can be meant in two ways.
    """
    tree, found = _Tree(folders), Arrangement()
    top = ""
    while True:
        names = tree.children(top)
        if names and _are_splits(tree, top, names, splits):
            _arrange_splits(tree, top, names, source, splits, depth, found, subfolders)
            break
        if len(names) == 1 and not folders.get(top):
            inner = _join(top, names[0])
            if (not folders.get(inner) or names[0].lower() in WRAPPERS) and (
                tree.children(inner) or names[0].lower() in WRAPPERS
            ):
                top = inner
                continue
        if not names and default == "test":
            found.places[top] = Placed("test", "", _cut(top))
        elif not names:
            raise _flat(source, top, folders.get(top, 0))
        else:
            if depth is None:
                _check_doubts(tree, top, names, source)
            _arrange_classes(tree, top, default, depth, found)
            found.empty += _without_images(tree, top, subfolders)
        break
    if top:
        found.notes.append(f"{source}: its images lie in {top}")
    return found


def _are_splits(tree: _Tree, top: str, names: Sequence[str], splits: SplitNames) -> bool:
    """Whether folders are splits: all are called so, or one that is called exactly so holds folders.

    Classes may be called "train" too, as one of vehicles, or "train_station".
    """
    if any(name in splits.chosen for name in names):
        return True
    known = [name for name in names if splits.of(name)]
    exact = [name for name in known if name.lower() in SPELLINGS]
    return len(known) == len(names) or any(tree.children(_join(top, name)) for name in exact)


def _arrange_splits(
    tree: _Tree,
    top: str,
    names: Sequence[str],
    source: str,
    splits: SplitNames,
    depth: int | None,
    found: Arrangement,
    subfolders: Callable[[str], set[str]],
) -> None:
    if unknown := [name for name in names if not splits.of(name)]:
        raise _unknown_splits(source, top, unknown, [name for name in names if splits.of(name)])
    for name in sorted(subfolders(top) - set(names)):
        if name in splits.chosen or name.lower() in SPELLINGS:
            raise SourceError(
                f"{_shown(source, _join(top, name))} holds no image; put the images of {splits.of(name)} there, or "
                f"give the other folders one by one: {' '.join(_shown(source, _join(top, other)) for other in names)}"
            )
    for name in names:
        split = splits.of(name) or ""
        holder = _join(top, name)
        while len(inner := tree.children(holder)) == 1 and not tree.images.get(holder):
            if inner[0].lower() not in WRAPPERS and splits.of(inner[0]) != split:
                break
            holder = _join(holder, inner[0])
        if tree.children(holder):
            _arrange_classes(tree, holder, split, depth, found)
            found.empty += _without_images(tree, holder, subfolders)
        elif split == "test":
            found.places[holder] = Placed("test", "", _cut(holder))
        else:
            raise _flat(source, holder, tree.images.get(holder, 0))


def _arrange_classes(tree: _Tree, holder: str, split: str, depth: int | None, found: Arrangement) -> None:
    deeper: list[str] = []
    mixed: list[str] = []
    for folder in tree.below(holder):
        parts = folder[_cut(holder) :].split("/")
        label = "/".join(parts[: depth or 1])
        found.places[folder] = Placed(split, label.strip(), _cut(_join(holder, label)))
        if len(parts) > (depth or 1):
            deeper.append(folder)
            if tree.images.get(_join(holder, label)):
                mixed.append(_join(holder, label))
    labels: dict[str, str] = {}
    for folder in tree.below(holder):
        label = "/".join(folder[_cut(holder) :].split("/")[: depth or 1])
        if labels.setdefault(label.strip(), label) != label:
            raise SourceError(f"the class folders {labels[label.strip()]!r} and {label!r} differ only in spaces")
    wrapped = all(folder.rpartition("/")[2].lower() in WRAPPERS for folder in deeper)
    if deeper and not wrapped and depth is None:
        holders = sorted(set(mixed))
        both = f"; {_names(holders)} {'also holds' if len(holders) == 1 else 'also hold'} images" if holders else ""
        found.notes.append(
            f"{len(deeper)} folders lie deeper than the classes ({_names(sorted(deeper))}), and their images belong to "
            f"the folder above{both}; to make a class of each, add: --class-depth path"
        )


def _check_doubts(tree: _Tree, top: str, names: Sequence[str], source: str) -> None:
    """Raise SourceError for folders that may be splits of unknown names, or no classes at all."""
    wrappers = [name for name in names if name.lower() in WRAPPERS]
    if wrappers:
        place = _join(top, wrappers[0])
        if not tree.children(place):
            raise _flat(source, place, tree.images.get(place, 0))
        others = [name for name in names if name not in wrappers]
        raise SourceError(
            f"{_shown(source, place)} is called like a folder of all images, and {_names(others)} lies next to it; "
            f"give the one that is meant, such as {_shown(source, place)}, or, if each is a class, add: --class-depth 1"
        )
    held = {
        name: {child for child in tree.children(_join(top, name)) if child.lower() not in WRAPPERS}
        for name in names
        if not tree.images.get(_join(top, name))
    }
    alike = [
        name
        for name, mine in held.items()
        if any(other != name and 2 * len(mine & theirs) > min(len(mine), len(theirs)) for other, theirs in held.items())
    ]
    if len(held) == len(names) and len(alike) > 1:
        options = " ".join(f'--split-from "{name}=SPLIT"' for name in alike[:SHOWN])
        raise SourceError(
            f"{source} holds folders of the same names in {_names(alike)}; if these are splits, add, with train, val "
            f"or test for SPLIT: {options}; if these are the classes, add: --class-depth 1"
        )


def _without_images(tree: _Tree, holder: str, subfolders: Callable[[str], set[str]]) -> list[str]:
    return sorted(_join(holder, name) for name in subfolders(holder) - set(tree.children(holder)))


def _unknown_splits(source: str, top: str, unknown: Sequence[str], known: Sequence[str]) -> SourceError:
    options = " ".join(f'--split-from "{name}=SPLIT"' for name in unknown[:SHOWN])
    alone = " ".join(_shown(source, _join(top, name)) for name in known)
    return SourceError(
        f"{_shown(source, top)} holds {_names(unknown)} next to {_names(known)}, which is no name of a split; say "
        f"which it is, with train, val or test for SPLIT: {options}; or give the other folders one by one: {alone}"
    )


def _flat(source: str, folder: str, images: int) -> SourceError:
    return SourceError(
        f"{_shown(source, folder)} holds {images} images that are in no class folder; name their classes in a list: "
        f"feedline prep imagefolder {shell_word(source)} --labels FILE --out ROOT, "
        f"or give a folder with a folder for each class"
    )


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _cut(folder: str) -> int:
    return len(folder) + 1 if folder else 0


def _shown(source: str, folder: str) -> str:
    return f"{source}/{folder}" if folder else source


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more

"""Tiny-ImageNet, zip or folder: its lists, and where each of its files belongs.

ImageFolder misreads its own layout: train has an ``images/`` level, and val is one flat folder whose labels stand in
``val_annotations.txt``, so training uses a single class called "images". Here labels come
from that file by file name. A val folder that a script has sorted already is taken as well, and compared with
it. Bounding boxes and lists are files of the split ``annotations``.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import SourceError
from .naming import TINY_IMAGENET, Place, safe_path
from .parts import Listing
from .reader import Reader
from .recognise import TINY, ZIP, Recognised, walk_folder
from .trees import Folder, Zip, tree_parts

ANNOTATIONS = "annotations"

PLACE = re.compile(r"(?:[^/]+/)?(train/.*|val/.*|test/.*|wnids\.txt|words\.txt)")
TRAIN_IMAGE = re.compile(r"train/(n[0-9]{8})/(?:images/)?(\1_[0-9]{1,8}\.JPEG)")
VAL_IMAGE = re.compile(r"val/(?:(n[0-9]{8})/)?(?:images/)?(val_[0-9]{1,8}\.JPEG)")
TEST_IMAGE = re.compile(r"test/(?:images/)?(test_[0-9]{1,8}\.JPEG)")
NOTE = re.compile(r"(?:train/n[0-9]{8}/(n[0-9]{8}_boxes\.txt)|val/(val_annotations\.txt)|(wnids\.txt|words\.txt))")
WNID = re.compile(r"n[0-9]{8}")

LABELS, WORDS = "val_annotations.txt", "words.txt"
MAX_TEXT = 16 * 1024 * 1024  # bytes; words.txt has 2.6 MB


@dataclass(frozen=True)
class _Tables:
    """What the archive's own lists say."""

    wnids: frozenset[str]
    labels: dict[str, str]
    names: dict[str, str]


def recognise_tiny(source: Path, skip: Path | None = None) -> Recognised:
    """Return what the zip or its folder holds; a folder below it named ``skip``, the output, is left out.

    Raises SourceError for a missing, damaged or foreign source, and for one that lacks what its own lists name.
    """
    if not source.exists():
        raise SourceError(f"{source} does not exist; give the path of tiny-imagenet-200.zip")
    tree = _folder(source, skip) if source.is_dir() else _zip(source)
    tables = _tables(tree)

    def locate(name: str) -> Place | None:
        return _locate(name, tables, str(source))

    parts = tree_parts(tree, locate)
    _check_complete(tree, tables)
    return Recognised(tuple(parts), (), names=tables.names)


def _zip(source: Path) -> Zip:
    with source.open("rb") as file:
        if file.read(2) != ZIP:
            raise SourceError(f"{source} is damaged or not a zip: copy or download it again")
    return Zip(source)


def _folder(source: Path, skip: Path | None) -> Folder:
    files = Listing()
    for name, entry in walk_folder(source, skip):
        if _known(name):
            files.add(name, 0, entry.stat().st_size)
    return Folder(source, files)


def _known(name: str) -> str:
    """Return a path below the top folder when Tiny-ImageNet has such a file, else an empty one."""
    match = PLACE.fullmatch(name)
    path = match[1] if match else ""
    return path if any(p.fullmatch(path) for p in (TRAIN_IMAGE, VAL_IMAGE, TEST_IMAGE, NOTE)) else ""


def _tables(tree: Zip | Folder) -> _Tables:
    """Return the lists; raise SourceError where one is missing."""
    texts: dict[str, str] = {}
    for name, position, size in tree.entries():
        base = _known(name).rpartition("/")[2]
        if base in (TINY, LABELS, WORDS):
            if size > MAX_TEXT:
                raise SourceError(f"{tree.path}: {name} claims {size} bytes, at most {MAX_TEXT} are sane")
            listing = Listing()
            listing.add(name, position, size)
            with Reader() as reader:
                (file,) = tree.images(listing, str)
                texts[base] = file.read(reader).decode("utf-8", "replace")
    for base in (TINY, LABELS, WORDS):
        if base not in texts:
            raise SourceError(f"{tree.path} is not Tiny-ImageNet: it has no {base}; give tiny-imagenet-200.zip")
    rows = [line.split("\t") for line in texts[LABELS].splitlines()]
    words = [line.partition("\t") for line in texts[WORDS].splitlines()]
    return _Tables(
        wnids=frozenset(wnid for wnid in texts[TINY].split() if WNID.fullmatch(wnid)),
        labels={row[0]: row[1] for row in rows if len(row) >= 2 and WNID.fullmatch(row[1])},
        names={wnid: name.strip() for wnid, _, name in words if WNID.fullmatch(wnid)},
    )


def _locate(name: str, tables: _Tables, where: str) -> Place | None:
    """Return where a file belongs; raise SourceError for one that is foreign or labelled two ways."""
    if name.endswith("/"):
        return None
    path = _known(safe_path(name, where))
    if match := TRAIN_IMAGE.fullmatch(path):
        if match[1] in tables.wnids:
            return Place("train", match[1], match[2], TINY_IMAGENET)
    elif match := VAL_IMAGE.fullmatch(path):
        wnid = tables.labels.get(match[2])
        if wnid in tables.wnids and match[1] in (None, wnid):
            return Place("val", wnid or "", match[2], TINY_IMAGENET)
    elif match := TEST_IMAGE.fullmatch(path):
        return Place("test", "", match[1], TINY_IMAGENET)
    elif NOTE.fullmatch(path):
        return Place(ANNOTATIONS, "", path.rpartition("/")[2], TINY_IMAGENET)
    if path:
        raise SourceError(f"{where}: {name!r} belongs to no class of {TINY}, or not to the class of {LABELS}")
    raise SourceError(f"{where} is not Tiny-ImageNet: it holds {name!r}")


def _check_complete(tree: Zip | Folder, tables: _Tables) -> None:
    """Raise SourceError unless every class of the list has training images and every labelled image is there."""
    missing, classes = set(tables.labels), set(tables.wnids)
    for name, _, _ in tree.entries():
        *folders, base = name.split("/")
        missing.discard(base)
        classes.difference_update(folders)
    if classes or missing:
        what = f"training images of {min(classes)}" if classes else min(missing)
        raise SourceError(f"{tree.path} lacks {what}, which its own lists name: copy or download it again")

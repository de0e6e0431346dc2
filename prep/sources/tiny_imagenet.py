"""Tiny-ImageNet, zip or folder: its lists, and where each of its files belongs.

ImageFolder misreads its own layout: train has an ``images/`` level, and val is one flat folder whose labels stand in
``val_annotations.txt``, so training uses a single class called "images". Here labels come
from that file by file name. A val folder that a script has sorted already is taken as well, and compared with
it. Bounding boxes and lists are files of the split ``annotations``.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import SourceError
from ..base.shell import shell_word
from .naming import SUFFIX, SUFFIXES, TINY_IMAGENET, Place, is_stranger, kind_of, safe_path
from .parts import Listing
from .reader import Reader
from .reading import Reading
from .recognise_file import TINY, ZIP
from .recognised import Recognised
from .strange import broken_links, refuse_special, refuse_strange
from .trees import Entry, Folder, Zip, tree_parts
from .walking import walk_folder

ANNOTATIONS = "annotations"

# Any folders may come first: an archive unpacked into a folder of its own name has it twice.
PLACE = re.compile(r"(?:[^/]+/)*?(train/.*|val/.*|test/.*|wnids\.txt|words\.txt)")
TRAIN_IMAGE = re.compile(rf"train/(n[0-9]{{8}})/(?:images/)?(\1_[0-9]{{1,8}}{SUFFIX})")
VAL_IMAGE = re.compile(rf"val/(?:(n[0-9]{{8}})/)?(?:images/)?((val_[0-9]{{1,8}}){SUFFIX})")
TEST_IMAGE = re.compile(rf"test/(?:images/)?(test_[0-9]{{1,8}}{SUFFIX})")
NOTE = re.compile(r"(?:train/n[0-9]{8}/(n[0-9]{8}_boxes\.txt)|val/(val_annotations\.txt)|(wnids\.txt|words\.txt))")
WNID = re.compile(r"n[0-9]{8}")
OF_IMAGENET = re.compile(r"ILSVRC2012_(?:val|test)_[0-9]{8}\.")

LABELS, WORDS = "val_annotations.txt", "words.txt"
MAX_TEXT = 16 * 1024 * 1024  # bytes; words.txt has 2.6 MB


@dataclass(frozen=True)
class _Tables:
    """What the archive's own lists say."""

    wnids: frozenset[str]
    labels: dict[str, str]
    """{name of a validation image without its suffix: wnid}"""
    names: dict[str, str]


def recognise_tiny(source: Path, skip: Path | None = None) -> Recognised:
    """Return what the zip or its folder holds; a folder below it named ``skip``, the output, is left out.

    Raises SourceError for a missing, damaged or foreign source, and for one that lacks what its own lists name.
    """
    if not source.exists():
        if source.is_symlink():
            raise broken_links([source])
        raise SourceError(f"{source} does not exist; give the path of tiny-imagenet-200.zip")
    refuse_special(source)
    reading = Reading(skip=skip)
    left_out = Counter[str]()
    tree = _folder(source, reading, left_out) if source.is_dir() else _zip(source)
    tables = _tables(tree)

    def locate(name: str) -> Place | None:
        return _locate(name, tables, str(source))

    parts = tree_parts(tree, reading, locate, _entries(tree))
    _check_complete(tree, tables)
    reading.left_out.note(source, "walk", left_out)
    return Recognised(tuple(parts), (), names=tables.names, left_out=reading.left_out)


def _zip(source: Path) -> Zip:
    with source.open("rb") as file:
        start = file.read(512)
    if not start.startswith(ZIP):
        refuse_strange(source, start)
        raise SourceError(
            f"{source} is damaged or not a zip: copy or download it again, or unpack it and give the folder"
        )
    return Zip(source)


def _folder(source: Path, reading: Reading, left_out: "Counter[str]") -> Folder:
    files, official = Listing(), ""
    for name, entry in walk_folder(source, reading, left_out):
        official = official or (entry.path if OF_IMAGENET.match(entry.name) else "")
        if _known(name):
            files.add(name, 0, entry.stat().st_size)
        else:
            left_out[kind_of(entry.name)] += 1
    if official and not any(name.endswith(f"/{TINY}") for name, _, _ in files):
        raise _of_imagenet(source, official)
    return Folder(source, files)


def _entries(tree: Zip | Folder) -> Iterator[Entry]:
    """Yield the entries without the folders."""
    return (entry for entry in tree.entries() if not entry[0].endswith("/"))


def _known(name: str) -> str:
    """Return a path below the top folder when Tiny-ImageNet has such a file, else an empty one."""
    match = None if "__MACOSX/" in name else PLACE.fullmatch(name)
    path = match[1] if match else ""
    return path if any(p.fullmatch(path) for p in (TRAIN_IMAGE, VAL_IMAGE, TEST_IMAGE, NOTE)) else ""


def _tables(tree: Zip | Folder) -> _Tables:
    """Return the lists. Without them, the class folders of train, and those of a val that a script has sorted, serve.

    Raises SourceError if there is no image of train, or if labels of val are nowhere.
    """
    texts: dict[str, str] = {}
    classes, sorted_val, flat, official = set[str](), dict[str, str](), "", ""
    for name, position, size in tree.entries():
        path = _known(name)
        base = path.rpartition("/")[2]
        if base in (TINY, LABELS, WORDS):
            if size > MAX_TEXT:
                raise SourceError(f"{tree.path}: {name} claims {size} bytes, at most {MAX_TEXT} are sane")
            listing = Listing()
            listing.add(name, position, size)
            with Reader() as reader:
                (file,) = tree.images(listing, str)
                texts[base] = file.read(reader).decode("utf-8", "replace")
        elif OF_IMAGENET.match(name.rpartition("/")[2]):
            official = official or name
        elif match := TRAIN_IMAGE.fullmatch(path):
            classes.add(match[1])
        elif match := VAL_IMAGE.fullmatch(path):
            sorted_val[match[3]] = match[1]
            flat = flat or ("" if match[1] else name)
    if official and TINY not in texts:
        raise _of_imagenet(tree.path, official)
    if not classes:
        raise SourceError(
            f"{tree.path} holds no training image of Tiny-ImageNet, such as train/n01443537/images/n01443537_0.JPEG; "
            f"give tiny-imagenet-200.zip"
        )
    if LABELS not in texts and flat:
        raise SourceError(
            f"{tree.path} has no {LABELS}, so the class of {flat} is not known; give tiny-imagenet-200.zip"
        )
    rows = [line.split("\t") for line in texts.get(LABELS, "").splitlines()]
    words = [line.partition("\t") for line in texts.get(WORDS, "").splitlines()]
    labels = {_stem(row[0]): row[1] for row in rows if len(row) >= 2 and WNID.fullmatch(row[1])}
    listed = frozenset(wnid for wnid in texts.get(TINY, "").split() if WNID.fullmatch(wnid))
    return _Tables(
        wnids=listed or frozenset(classes),
        labels=labels or sorted_val,
        names={wnid: name.strip() for wnid, _, name in words if WNID.fullmatch(wnid)},
    )


def _of_imagenet(source: Path, name: str) -> SourceError:
    return SourceError(
        f"{source} is no Tiny-ImageNet: {name} is of ImageNet; prepare it with: "
        f"feedline prep imagenet {shell_word(source)} --out ROOT"
    )


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _locate(name: str, tables: _Tables, where: str) -> Place | None:
    """Return where a file belongs, or None for one that Tiny-ImageNet has not; raise SourceError for a wrong label."""
    if "__MACOSX/" in name or is_stranger(name, (*SUFFIXES, ".txt")):
        return None
    path = _known(safe_path(name, where))
    if match := TRAIN_IMAGE.fullmatch(path):
        if match[1] in tables.wnids:
            return Place("train", match[1], match[2], TINY_IMAGENET)
        raise SourceError(f"{where}: {name!r} belongs to no class of {TINY}; get the original")
    if match := VAL_IMAGE.fullmatch(path):
        wnid = tables.labels.get(match[3])
        if wnid in tables.wnids and match[1] in (None, wnid):
            return Place("val", wnid or "", match[2], TINY_IMAGENET)
        raise SourceError(f"{where}: {name!r} belongs to no class of {TINY}, or not to the class of {LABELS}")
    if match := TEST_IMAGE.fullmatch(path):
        return Place("test", "", match[1], TINY_IMAGENET)
    if NOTE.fullmatch(path):
        return Place(ANNOTATIONS, "", path.rpartition("/")[2], TINY_IMAGENET)
    return None


def _check_complete(tree: Zip | Folder, tables: _Tables) -> None:
    """Raise SourceError unless every class of the list has training images and every labelled image is there."""
    missing, classes = set(tables.labels), set(tables.wnids)
    for name, _, _ in tree.entries():
        path = _known(name)
        if match := TRAIN_IMAGE.fullmatch(path):
            classes.discard(match[1])
        elif match := VAL_IMAGE.fullmatch(path):
            missing.discard(match[3])
    if classes or missing:
        what = f"training images of {min(classes)}" if classes else f"{min(missing)}.JPEG"
        raise SourceError(f"{tree.path} lacks {what}, which its own lists name: copy or download it again")

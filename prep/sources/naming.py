"""From the path of an image inside a source to its place in the data set, for every layout but nested tars.

A label comes from the class folder, from the name that Hugging Face gives a file, or from the official list by
file name; never from a position in a listing. If a path states the class twice, both must agree. Paths come from
archives that are not trusted: one that could lead outside, or mean another file on another system, is refused, and
the place is built from the parts that matched.
"""

import re
from typing import NamedTuple

from ..base.errors import SourceError
from ..labels.imagenet import validation_labels, wnids

WNID = re.compile(r"n[0-9]{8}")
CLASS_TAR = re.compile(r"(n[0-9]{8})\.tar")
TRAIN_IMAGE = re.compile(r"(n[0-9]{8})_[0-9]{1,8}\.JPEG")
VAL_IMAGE = re.compile(r"ILSVRC2012_val_[0-9]{8}\.JPEG")
TEST_IMAGE = re.compile(r"ILSVRC2012_test_[0-9]{8}\.JPEG")
HUGGING_FACE = re.compile(r"(n[0-9]{8}_[0-9]{1,8}|ILSVRC2012_val_[0-9]{8})_(n[0-9]{8})\.JPEG")
OFFICIAL_NAMES = (TRAIN_IMAGE, VAL_IMAGE, TEST_IMAGE, HUGGING_FACE)

SUFFIXES = (".jpeg", ".jpg", ".png")
# Plain names only: ASCII, no space, so that every file system and every reader of shards can hold them.
IMAGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,95}\.(?:jpeg|jpg|png)", re.IGNORECASE)
# "val", "validation", or one of several parts: "train.X1" (Kaggle's ImageNet-100).
SPLIT = re.compile(r"(train|val|test)(?:idation)?(?:\.x[0-9]*)?", re.IGNORECASE)
V2 = re.compile(r"imagenetv2-[a-z0-9.-]+", re.IGNORECASE)
INDEX = re.compile(r"0|[1-9][0-9]{0,2}")

UNSAFE = re.compile(r'[\\:*?"<>|\x00-\x1f\x7f]')
RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
MAX_PATH = 1024  # characters

CLASS_FOLDERS, FLAT_TRAIN, FLAT_VAL, FLAT_TEST = (
    "class folders",
    "flat training images",
    "flat validation images",
    "flat test images",
)
# These may be mixed in one tree: each of them states the class, and correctly.
MIXABLE = frozenset((CLASS_FOLDERS, FLAT_TRAIN, FLAT_VAL, FLAT_TEST))
KAGGLE, HF, IMAGENET_V2 = "Kaggle's ILSVRC tree", "Hugging Face's images", "ImageNet-V2"
IMAGENETTE, IMAGEWOOF = "Imagenette", "Imagewoof"
TINY_IMAGENET = "tiny-imagenet"


class Place(NamedTuple):
    """Where an image belongs: ``split/wnid/name``; test images have no wnid."""

    split: str
    wnid: str
    name: str
    layout: str

    @property
    def path(self) -> str:
        """The path below the split's folder."""
        return f"{self.wnid}/{self.name}" if self.wnid else self.name


def safe_path(name: str, where: str) -> str:
    """Return an archive's member name without leading "./"; raise SourceError for one that is not a plain path.

    Refused are absolute paths, "..", backslashes, drive letters and NTFS streams, control characters, Windows'
    device names, and names that Windows would shorten (trailing dots and spaces).
    """
    while name.startswith("./"):
        name = name[2:]
    parts = name.split("/")
    if len(name) > MAX_PATH or UNSAFE.search(name) or not all(map(_is_safe, parts)):
        raise SourceError(f"{where} holds the path {name[:200]!r}, which is refused: it is not a plain relative path")
    return name


def _is_safe(part: str) -> bool:
    return bool(part) and part[-1] not in ". " and not RESERVED.fullmatch(part)


def place(name: str, where: str, default: str = "train") -> Place | None:
    """Return the place of a file, or None for one that is no image (lists, annotations, folders' own files).

    ``default`` is the split of class folders that stand in no split's folder. Raises SourceError, beginning with
    ``where``, for an unsafe path, an image without a label, and labels that contradict each other.
    """
    plain = name.rstrip("/")
    if plain in ("", "."):
        return None
    *folders, base = safe_path(plain, where).split("/")
    if plain != name or not base.lower().endswith(SUFFIXES) or base.startswith("._") or "__MACOSX" in folders:
        return None
    found = _place(folders, base, default)
    if found is None or not IMAGE.fullmatch(found.name):
        raise SourceError(f"{where} holds the image {name!r}, which belongs to no class and no split that is known")
    _check_label(found, name, where)
    return found


def _place(folders: list[str], base: str, default: str) -> Place | None:
    parent = folders[-1] if folders else ""
    split = next((match[1].lower() for match in map(SPLIT.fullmatch, reversed(folders)) if match), None)
    layout = _layout(folders)
    if match := HUGGING_FACE.fullmatch(base):
        of_train = TRAIN_IMAGE.fullmatch(match[1] + ".JPEG")
        return Place("train" if of_train else "val", match[2], match[1] + ".JPEG", HF)
    if WNID.fullmatch(parent):
        split = split or ("val" if VAL_IMAGE.fullmatch(base) else default)
        return None if split == "test" else Place(split, parent, base, layout or CLASS_FOLDERS)
    if VAL_IMAGE.fullmatch(base) and split in (None, "val"):
        wnid = validation_labels().get(base)
        return Place("val", wnid, base, layout or FLAT_VAL) if wnid else None
    if TEST_IMAGE.fullmatch(base) and split in (None, "test"):
        return Place("test", "", base, layout or FLAT_TEST)
    if (match := TRAIN_IMAGE.fullmatch(base)) and split in (None, "train"):
        return Place("train", match[1], base, layout or FLAT_TRAIN)
    if INDEX.fullmatch(parent) and any(map(V2.fullmatch, folders)):
        # The folder is the class index itself: sorted as text, 10 comes before 2 and every label is wrong.
        return Place("val", wnids()[int(parent)], base, IMAGENET_V2)
    return None


def _layout(folders: list[str]) -> str | None:
    """Return the data set that the names of the folders belong to."""
    if "CLS-LOC" in folders:
        return KAGGLE
    for folder in folders:
        for prefix, layout in (("imagenette2", IMAGENETTE), ("imagewoof2", IMAGEWOOF)):
            if folder.startswith(prefix):
                return layout
    return None


def _check_label(found: Place, name: str, where: str) -> None:
    """Raise SourceError when the official list, or an official name, puts the image into another class."""
    official = TRAIN_IMAGE.fullmatch(found.name)
    expected = official[1] if official else validation_labels().get(found.name, found.wnid)
    if found.wnid and expected != found.wnid:
        raise SourceError(
            f"{where} has {name!r} in class {found.wnid}, but {found.name} is of class {expected}; "
            f"its labels are wrong: get the original"
        )

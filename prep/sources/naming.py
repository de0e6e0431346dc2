"""From the path of an image inside a source to its place in the data set, for every layout but nested tars.

A label comes from the class folder, from the name that Hugging Face gives a file, or from the official list by
file name; never from a position in a listing. If a path states the class twice, both must agree. Paths come from
archives that are not trusted: one that could lead outside, or mean another file on another system, is refused, and
the place is built from the parts that matched.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ..base.errors import SourceError
from ..images.files import SUFFIXES as SUFFIXES
from ..labels.imagenet import validation_labels, wnids

WNID = re.compile(r"n[0-9]{8}")
CLASS_TAR = re.compile(r"(n[0-9]{8})\.(?:tar(?:\.(?:gz|bz2|xz|zst))?|tgz)")
# Tools that encode images again, or rename them, write .jpg or .png: the name before it still gives the class.
SUFFIX = r"\.(?i:jpeg|jpg|png)"
TRAIN_IMAGE = re.compile(rf"(n[0-9]{{8}})_[0-9]{{1,8}}{SUFFIX}")
VAL_IMAGE = re.compile(rf"(ILSVRC2012_val_[0-9]{{8}}){SUFFIX}")
TEST_IMAGE = re.compile(rf"ILSVRC2012_test_[0-9]{{8}}{SUFFIX}")
HUGGING_FACE = re.compile(rf"(n[0-9]{{8}}_[0-9]{{1,8}}|ILSVRC2012_val_[0-9]{{8}})_(n[0-9]{{8}})({SUFFIX})")
OFFICIAL_NAMES = (TRAIN_IMAGE, VAL_IMAGE, TEST_IMAGE, HUGGING_FACE)

SPLITS = ("train", "val", "test")
"""The names of the splits that feedline recognises and writes."""
SPELLINGS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# Words after "test" or "dev" that leave it the name of a split; "test run" and "dev box" name something else.
NEUTRAL = frozenset(("images", "image", "imgs", "img", "data", "set", "dataset", "split", "folder", "x"))
NOT_LETTERS = re.compile(r"[^a-z]+")
PLAIN_SUFFIX = re.compile(r"[\w+~-]{1,20}")
V2 = re.compile(r"imagenetv2-[a-z0-9.-]+", re.IGNORECASE)
INDEX = re.compile(r"0|[1-9][0-9]{0,2}")

UNSAFE = re.compile(r'[\\:*?"<>|\x00-\x1f\x7f]')
RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
MAX_PATH = 1024  # characters
MAX_NAME = 255  # bytes; of ext4, NTFS (in UTF-16 units) and APFS

CLASS_FOLDERS, FLAT_TRAIN, FLAT_VAL, FLAT_TEST = (
    "class folders",
    "flat training images",
    "flat validation images",
    "flat test images",
)
# These may be mixed in one tree: each of them states the class, and correctly.
MIXABLE = frozenset((CLASS_FOLDERS, FLAT_TRAIN, FLAT_VAL, FLAT_TEST))
BY_NAME = frozenset((FLAT_TRAIN, FLAT_VAL, FLAT_TEST))  # the name itself gave the class
KAGGLE, HF, IMAGENET_V2 = "Kaggle's ILSVRC tree", "Hugging Face's images", "ImageNet-V2"
IMAGENETTE, IMAGEWOOF = "Imagenette", "Imagewoof"
TINY_IMAGENET = "tiny-imagenet"


class Place(NamedTuple):
    """Where an image belongs: ``split/wnid/name``; test images have no wnid."""

    split: str
    wnid: str
    name: str
    layout: str
    guessed: bool = False
    """Whether nothing names the split, so that it is the default one."""

    @property
    def path(self) -> str:
        """The path below the split's folder."""
        return f"{self.wnid}/{self.name}" if self.wnid else self.name


@lru_cache(maxsize=8192)
def split_named(name: str) -> str | None:
    """Return the split that a folder's name says, or None.

    Examples are "Train", "valid", "imagenet21k_val", "train2012" and "train.X1" (Kaggle's ImageNet-100). The known word
    may have any prefix or suffix that is separated by a character that is no letter. A name with words of two splits,
    such as "train_val", says neither.
    """
    found = {SPELLINGS[word] for word in NOT_LETTERS.split(name.lower()) if word in SPELLINGS}
    return found.pop() if len(found) == 1 else None


def split_of_source(name: str) -> str | None:
    """Return the split that the name of a source itself says, or None.

    "test" or "dev" at its start counts only if no other word follows: "test-run" may hold anything.
    """
    words = [word for word in NOT_LETTERS.split(name.lower()) if word and word not in NEUTRAL]
    if len(words) > 1 and words[0] in ("test", "testing", "dev") and SPELLINGS.get(words[-1]) is None:
        return None
    return split_named(name)


class SplitNames:
    """Which split a folder's name says: those that the user chose, then the known spellings."""

    def __init__(self, chosen: Mapping[str, str] | None = None) -> None:
        self.chosen = dict(chosen or {})
        self.used: set[str] = set()
        """The chosen names that occurred."""
        self.above: dict[Path, str] = {}
        """{archive: split} of those that lie in a folder whose name says the split."""

    def of(self, folder: str) -> str | None:
        """Return the split of a folder inside a source."""
        return self._choice(folder) if folder in self.chosen else split_named(folder)

    def of_source(self, path: Path) -> str | None:
        """Return the split that the name of a folder or an archive, with or without its suffixes, says."""
        name = path.name
        for spelling in (name, name.partition(".")[0], path.stem):
            if spelling in self.chosen:
                return self._choice(spelling)
        return split_of_source(name) or self.above.get(path)

    @property
    def unused(self) -> list[str]:
        """The chosen names that did not occur."""
        return sorted(set(self.chosen) - self.used)

    def _choice(self, name: str) -> str:
        self.used.add(name)
        return self.chosen[name]


KNOWN = SplitNames()


def safe_path(name: str, where: str) -> str:
    """Return an archive's member name without leading "./"; raise SourceError for one that is not a plain path.

    Refused are absolute paths, "..", backslashes, drive letters and NTFS streams, control characters, Windows'
    device names, and names that Windows would shorten (trailing dots and spaces).
    """
    while name.startswith("./"):
        name = name[2:]
    if len(name) > MAX_PATH or UNSAFE.search(name) or not all(map(_is_safe, name.split("/"))):
        raise SourceError(
            f"{where} holds the path {name[:200]!r}, which is refused: it is not a plain relative path "
            f"({_why_unsafe(name)}); rename it, or pack the archive again"
        )
    return name


def _is_safe(part: str) -> bool:
    return bool(part) and part[-1] not in ". " and not RESERVED.fullmatch(part)


def _why_unsafe(name: str) -> str:
    if len(name) > MAX_PATH:
        return f"it has more than {MAX_PATH} characters"
    if found := UNSAFE.search(name):
        return f"it holds the character {found[0]!r}"
    part = next(part for part in name.split("/") if not _is_safe(part))
    if not part:
        return "it is absolute, or a part of it is empty"
    if part == "..":
        return "it leads out of its folder"
    if RESERVED.fullmatch(part):
        return f"{part!r} is a device on Windows"
    return f"{part!r} ends with a dot or a space, which Windows drops"


def place(name: str, where: str, default: str = "", splits: SplitNames = KNOWN) -> Place | None:
    """Return the place of a file, or None for one that is not taken: see ``kind_of``.

    ``default`` is the split of class folders that stand in no split's folder; without it they are guessed to be of
    train. ``splits`` gives the splits of folders' names. Raises SourceError, beginning with ``where``, for an unsafe
    path, an image without a label, and labels that contradict each other.
    """
    if is_stranger(name):
        return None
    *folders, base = safe_path(name, where).split("/")
    lower = base.lower()
    if not lower.endswith(SUFFIXES) or "__MACOSX" in folders:
        return None
    if base[0] == "." and lower not in SUFFIXES:  # hidden, as macOS's "._x.JPEG" are
        return None
    found = _place(folders, base, default, splits)
    reason = found if isinstance(found, str) else _why_refused(base)
    if reason or isinstance(found, str):
        raise SourceError(f"{where} holds the image {name!r}: {reason}")
    if found is None:
        return None
    if found.layout not in BY_NAME:
        _check_label(found, name, where)
    return found


def is_stranger(name: str, suffixes: tuple[str, ...] = SUFFIXES) -> bool:
    """Return whether a path is that of a folder, or of a file without one of the suffixes.

    A stranger is counted and never written, so its name may be one that an image must not have, such as
    "x.JPEG:Zone.Identifier" of Windows or macOS's "Icon" with a carriage return. A dot or a space at the end does not
    make an image a stranger.
    """
    return not name.rstrip(". ").lower().endswith(suffixes)


def kind_of(name: str) -> str:
    """Return the kind as which a file is counted that ``place`` does not take: its suffix, mostly."""
    *folders, base = name.split("/")
    if base.startswith("._") or "__MACOSX" in folders:
        return "._*"
    stem, dot, suffix = base.rpartition(".")
    if dot and not PLAIN_SUFFIX.fullmatch(suffix):
        return "another suffix"
    if dot and not stem:
        return base
    kind = f".{suffix.lower()}" if dot else "no suffix"
    return f"{kind} in class folders of test" if kind in SUFFIXES and _is_in_class(folders) else kind


def class_above(folders: Sequence[str]) -> str:
    """Return the folder that would be a class: the last one, or the one above "images", as in Tiny-ImageNet."""
    if len(folders) > 1 and folders[-1].lower() in NEUTRAL and WNID.fullmatch(folders[-2]):
        return folders[-2]
    return folders[-1] if folders else ""


def _is_in_class(folders: list[str]) -> bool:
    return bool(WNID.fullmatch(class_above(folders)))


def _why_refused(base: str) -> str:
    """Return why an image cannot keep its name; "" if it can."""
    if base.isascii() and len(base) <= MAX_NAME and base[0] != ".":
        return ""
    if base.startswith("."):
        return "it has no name before its suffix; rename it"
    try:
        size = len(base.encode())
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it, for example with convmv, or pack the archive again"
    if size > MAX_NAME:
        return f"its name has {size} bytes, and file systems hold at most {MAX_NAME}; rename it"
    return ""


def _place(folders: list[str], base: str, default: str, splits: SplitNames) -> Place | str | None:
    """Return an image's place; why it has none; or None if it is of a class of test, which has no labels."""
    parent = class_above(folders)
    split = next((found for found in map(splits.of, reversed(folders)) if found), None)
    layout = _layout(folders)
    if match := HUGGING_FACE.fullmatch(base):
        of_train = TRAIN_IMAGE.fullmatch(match[1] + match[3])
        return Place("train" if of_train else "val", match[2], match[1] + match[3], HF)
    of_val = VAL_IMAGE.fullmatch(base)
    if WNID.fullmatch(parent):
        guessed = not (split or of_val or default)
        split = split or ("val" if of_val else default or "train")
        return None if split == "test" else Place(split, parent, base, layout or CLASS_FOLDERS, guessed)
    if of_val and split in (None, "val"):
        wnid = validation_labels().get(of_val[1] + ".JPEG")
        return Place("val", wnid, base, layout or FLAT_VAL) if wnid else NO_SUCH_VAL
    if TEST_IMAGE.fullmatch(base) and split in (None, "test"):
        return Place("test", "", base, layout or FLAT_TEST)
    if (match := TRAIN_IMAGE.fullmatch(base)) and split in (None, "train"):
        return Place("train", match[1], base, layout or FLAT_TRAIN)
    if INDEX.fullmatch(parent) and any(map(V2.fullmatch, folders)):
        # The folder is the class index itself: sorted as text, 10 comes before 2 and every label is wrong.
        return Place("val", wnids()[int(parent)], base, IMAGENET_V2)
    return _why_unplaced(parent, base, split)


NO_SUCH_VAL = "the official list has no validation image of this number, so its class is not known; get the original"


def _why_unplaced(parent: str, base: str, split: str | None) -> str:
    for pattern, of in ((VAL_IMAGE, "val"), (TEST_IMAGE, "test"), (TRAIN_IMAGE, "train")):
        if split and pattern.fullmatch(base):
            return (
                f"it has a name of {of} and lies in a folder of {split}, but in no class folder; move it to a folder "
                f"of its class or of {of}, or leave it out"
            )
    if split == "test":
        return "images of test have official names (ILSVRC2012_test_00000001.JPEG), and this one has not; leave it out"
    if parent and not _names_no_class(parent):
        return (
            f"its folder {parent!r} is no class of ImageNet, whose folders are named by wnid, such as n01440764; for "
            f"images of your own, run: feedline prep imagefolder FOLDER --out ROOT"
        )
    return (
        "it lies in no class folder and has no official name, so its class is not known; move it to a folder of its "
        "class, such as train/n01440764, or, for images of your own, run: feedline prep imagefolder FOLDER --out ROOT"
    )


def _names_no_class(folder: str) -> bool:
    """Whether a folder's name is that of a split, or says only that it holds images."""
    return split_named(folder) is not None or folder.lower() in NEUTRAL


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
    of_val = VAL_IMAGE.fullmatch(found.name)
    expected = official[1] if official else found.wnid
    if of_val:
        expected = validation_labels().get(of_val[1] + ".JPEG", found.wnid)
    if found.wnid and expected != found.wnid:
        raise SourceError(
            f"{where} has {name!r} in class {found.wnid}, but {found.name} is of class {expected}; "
            f"its labels are wrong: get the original"
        )

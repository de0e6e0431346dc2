"""What an image file is, judged from its bytes: JPEG or PNG, whole or cut, ordinary or one of ImageNet's odd ones.

Official ImageNet has 23 files that are no ordinary JPEGs: one PNG named .JPEG and 22 CMYK JPEGs (the lists of
tensorflow-datasets, TensorFlow's slim and cytsai/ilsvrc-cmyk-image-list agree). They are good images and
stay as they are; they are reported by name, so that a user does not take them for damage.
"""

import re
import warnings
from typing import Literal

from .headers import EOI, PNG_START, SOI, components_and_scan
from .opening import RAW, UNREADABLE, allowed_format, description, foreign_format, load, open_image

JPEG_START = SOI + b"\xff"  # of a file whose first segment follows
# Some official files carry bytes after the end marker; none more than this.
TAIL = 65536

ODD_PNG = "n02105855_2933.JPEG"
ODD_CMYK = frozenset(
    f"{wnid}_{number}.JPEG"
    for wnid, number in (
        ("n01739381", 1309), ("n02077923", 14822), ("n02447366", 23489), ("n02492035", 15739),
        ("n02747177", 10752), ("n03018349", 4028), ("n03062245", 4620), ("n03347037", 9675),
        ("n03467068", 12171), ("n03529860", 11437), ("n03544143", 17228), ("n03633091", 5218),
        ("n03710637", 5125), ("n03961711", 5286), ("n04033995", 2932), ("n04258138", 17003),
        ("n04264628", 27969), ("n04336792", 7448), ("n04371774", 5854), ("n04596742", 4225),
        ("n07583066", 647), ("n13037406", 4650),
    )
)  # fmt: skip
KNOWN_ODD = ODD_CMYK | {ODD_PNG}
# Words of what ``foreign_format`` returns for files that no program converts to an image.
_NO_IMAGES = ("HTML", "archive", "gzip", "bzip2", "xz", "zstd", "LFS", "AppleDouble", "HDF5", "NumPy", "video", "RIFF")
_OFFICIAL = re.compile(r"n[0-9]{8}_|ILSVRC2012_")


def quick_problem(data: bytes) -> str | None:
    """Return what is wrong with an image's first and last bytes, or None; takes a microsecond."""
    known = allowed_format(data)
    if known is None:
        return f"is no image of a format that feedline opens: it {description(data)}"
    if known not in ("JPEG", "PNG"):  # whose first bytes prove little; the pixels are not decoded
        return _header_problem(data)
    if data.startswith(JPEG_START) and not data.endswith(EOI) and EOI not in data[-TAIL:]:
        # A writer may forget the end marker; only a file that does not decode is cut.
        return decode_problem(data) and f"is a JPEG cut short: its {len(data)} bytes have no end marker"
    return None


def refusal(data: bytes) -> str | None:
    """Return what ``quick_problem`` returns, and what the user can do; None for an image."""
    if problem := quick_problem(data):
        foreign = foreign_format(data)
        is_image = foreign and not any(word in foreign for word in _NO_IMAGES)
        convert = "convert it, for example with: magick FILE FILE.png"
        return f"{problem}; {convert if is_image else 'copy or download it again'}"
    return None


def image_problem(data: bytes, decode: bool) -> str | None:
    """Return what is wrong with an image file, or None. A PNG named .JPEG is an image, as in ImageNet.

    A cut is found behind a thumbnail too, whose own end marker would hide it. ``decode`` decodes in full.
    """
    if problem := quick_problem(data):
        return problem
    if data.startswith(JPEG_START):
        _, scan = components_and_scan(data)
        if scan < 0:
            return "is a JPEG whose headers are damaged"
        if data.rfind(EOI) < scan and decode_problem(data):
            return f"is a JPEG cut short: its {len(data)} bytes have no end marker"
    return decode_problem(data) if decode else None


def _header_problem(data: bytes) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            size = open_image(data).size
    except UNREADABLE as error:
        return f"does not decode: {error}"
    return None if all(size) else "has no pixels"


def decode_problem(data: bytes) -> str | None:
    """Return why Pillow cannot decode the image in full, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # broken EXIF, as in ImageNet: the pixels are fine
            load(open_image(data))
    except UNREADABLE as error:
        return f"does not decode: {error}"
    return None


def odd_kind(data: bytes) -> Literal["png", "cmyk"] | None:
    """Return what sets an image apart from an ordinary JPEG: it is a PNG, or it has four components."""
    if data.startswith(PNG_START):
        return "png"
    return "cmyk" if components_and_scan(data)[0] == 4 else None


def odd_notes(data: bytes, name: str, where: str) -> list[str]:
    """Return what sets the image at ``where`` apart, if anything, and whether official ImageNet has it too."""
    if allowed_format(data) == RAW:  # pixels, whatever the file was
        return []
    kind = odd_kind(data)
    what = {"png": "a PNG", "cmyk": "a CMYK JPEG", None: "an ordinary JPEG, though the official one is not"}[kind]
    if not _OFFICIAL.match(name):  # of another data set, where PNG and CMYK are nothing special
        return []
    if name in KNOWN_ODD:
        return [f"{where} is {what}" + (", as in official ImageNet" if kind else ": it was written anew")]
    return [f"{where} is {what}; official ImageNet has no such file of this name"] if kind else []

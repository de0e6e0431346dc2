"""Opening of image files with Pillow: the formats that are allowed, and the true name of every other file.

Pillow chooses a decoder by the content of a file, not by its name. Some of its decoders start other programs: an EPS
file named .jpg starts Ghostscript. So every file is opened with an explicit list of formats. A file of another format
is refused by name, because "cannot identify image file" does not help a user.

Pillow bounds the size: it raises DecompressionBombError for more than 179 megapixels before it decodes a pixel.

Pixels as they are, which ``feedline shard --encode raw`` writes, are opened too, without Pillow: see ``archives.npy``.
"""

import errno
import struct
import warnings
import zlib
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from ..archives import npy
from .headers import image_size

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP", "TIFF")
"""The formats that are opened, in the order in which they are tried. Pillow imports the last two when it needs them."""

RAW = "NPY"
"""The format of pixels as they are."""

UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""The errors that ``open_image`` and ``rgb_of`` raise for a damaged, an oversized or a foreign file."""

# What a decoder may let through on damaged bytes. Pillow 13 raised none of them for 8,000 damaged files, but it does
# not promise that, and a KeyError means something else to a reader of shards.
_DAMAGE = (ArithmeticError, AttributeError, EOFError, LookupError, RuntimeError, TypeError, struct.error, zlib.error)

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"GIF8", "GIF"),
    *((b"P" + kind, "PPM") for kind in (b"1", b"2", b"3", b"4", b"5", b"6", b"f")),
    *((start, "TIFF") for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
)

_STARTS = (
    (b"%!PS", "an EPS file"),
    (b"\xc5\xd0\xd3\xc6", "an EPS file"),
    (b"%PDF-", "a PDF file"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 file"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 file"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL file"),
    (b"\xff\x0a", "a JPEG XL file"),
    (b"\0\0\1\0", "an ICO file"),
    (b"icns", "an ICNS file"),
    (b"8BPS", "a PSD file"),
    (b"\xd7\xcd\xc6\x9a", "a WMF file"),
    (b"DDS ", "a DDS file"),
    (b"qoif", "a QOI file"),
    (b"v/1\1", "an OpenEXR file"),
    (b"#?RADIANCE", "a Radiance HDR file"),
    (b"PF", "a colour PFM file"),
    (b"SIMPLE  =", "a FITS file"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\0\5\x16\7", "an AppleDouble file, which macOS writes next to a file"),
    (b"version https://git-lfs", "a Git LFS pointer (git lfs pull fetches the file)"),
    (b"PK\3\4", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
)


def open_image(data: bytes) -> Image.Image:
    """Return the image of a file's bytes; its pixels are decoded later. Raises one of UNREADABLE."""
    if data.startswith(npy.MAGIC) and (pixels := npy.pixels_of(data)) is not None:
        image = Image.fromarray(pixels)
        image.format = RAW
        return image
    try:
        return Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise UnidentifiedImageError(_reason(data)) from None
    except _DAMAGE as error:
        raise OSError(f"its header is damaged: {error}") from error


def pixel_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) of an image file by its header, (0, 0) if that cannot be read."""
    if raw := npy.read_header(data):
        return raw.width, raw.height
    size = image_size(data)
    if size != (0, 0) or allowed_format(data) in (None, "JPEG", "PNG"):
        return size
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return open_image(data).size
    except UNREADABLE:
        return 0, 0


MUCH = 2**28
"""Bytes of pixels beyond which an image is the reason if memory is short, and not the program that reads it."""


def out_of_memory(data: bytes) -> OSError:
    """Return the error for an image file that there is no memory for; its errno is ENOMEM unless the image is large."""
    return _no_memory(*pixel_size(data))


def _no_memory(width: int, height: int) -> OSError:
    size = 3 * width * height
    problem = f"its {width} x {height} pixels need {size / 1e9:.2g} GB, and the system has no memory for them"
    return OSError(problem) if size > MUCH else OSError(errno.ENOMEM, problem)


def load(image: Image.Image) -> Image.Image:
    """Decode the pixels of an opened image, and return it. Raises one of UNREADABLE."""
    try:
        image.load()
    except MemoryError as error:
        raise _no_memory(*image.size) from error
    except _DAMAGE as error:
        raise OSError(f"its pixels are damaged: {error}") from error
    return image


def allowed_format(data: bytes) -> str | None:
    """Return which of FORMATS a file is by its first bytes, RAW for pixels as they are, or None."""
    if data.startswith(npy.MAGIC):
        return RAW if npy.read_header(data) else None
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((name for start, name in _SIGNATURES if data.startswith(start)), None)


def description(data: bytes) -> str:
    """Return the predicate of a sentence about a file that is no image of FORMATS: "is an EPS file"."""
    if not data:
        return "is empty"
    if name := foreign_format(data):
        return f"is {name}"
    return f"begins with {data[:8].hex()}" + ("" if any(data) else f" and holds nothing but {len(data)} zeros")


def foreign_format(data: bytes) -> str | None:
    """Return what a file is that is no image of FORMATS, such as "an EPS file", or None if it is not recognised."""
    if allowed_format(data):
        return None
    if data.startswith(npy.MAGIC):
        return npy.description(data)
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "a video or another file of ISO media")
    if data[:4] == b"RIFF":
        return "a RIFF file without an image, such as AVI or WAV"
    if data[40:44] == b" EMF":
        return "an EMF file"
    if data[128:132] == b"DICM":
        return "a DICOM file"
    if data[257:262] == b"ustar":
        return "a tar archive"
    text = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "an SVG file"
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    return next((name for start, name in _STARTS if data.startswith(start)), None)


_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "an AVIF file"),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "a HEIF file"),
}


def _reason(data: bytes) -> str:
    """Return why Pillow does not open a file. Pillow itself keeps the reason back."""
    known = allowed_format(data)
    if known is None and data.startswith(npy.MAGIC):
        return f"the file {description(data)}; feedline reads arrays of uint8 (height, width, 3)"
    if known is None:
        return f"the file {description(data)}; feedline opens {', '.join(sorted(FORMATS))}"
    try:
        Image.OPEN[known][0](BytesIO(data), "")
    except (SyntaxError, IndexError, TypeError, struct.error) as error:
        return f"its {known} header cannot be read: {error}"
    return f"its {known} header cannot be read"

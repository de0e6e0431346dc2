"""EXIF orientation: what it says, and images turned upright by their pixels or their coefficients.

A camera stores the pixels as the sensor lies and says in EXIF how to turn them. Training loaders do not turn them, and
neither does feedline. ``upright`` bakes the orientation in, so that all readers see the image as a viewer shows it.

A JPEG is turned without loss, as by ``jpegtran -perfect``: blocks move, and the coefficients in them are transposed
and negated. That needs a width or height of whole MCUs on the side that becomes the left or the upper one. Another
JPEG is decoded and encoded again, which loses quality. Images of other formats become PNGs, without loss.
"""

import struct
import warnings
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import get_sampling

from .headers import SOI, segments
from .jpeg import DQT, Segment, UnsupportedJpeg
from .opening import UNREADABLE, allowed_format, load, open_image

QUALITY = 95
"""JPEG quality of an image that cannot be turned without loss."""

EXIF = b"Exif\0\0"
_TAG, _SHORT = 0x0112, 3
_MOST_ENTRIES = 1000  # of a directory; cameras write some 20

Change = Literal["lossless", "reencoded"]

# Of each orientation: whether it is transposed, and then mirrored left to right and top to bottom (TIFF 6.0, page 36).
_TURNS = {
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
_METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, kw_only=True)
class Upright:
    """An image that was turned."""

    data: bytes
    change: Change


def orientation(data: bytes) -> int:
    """Return the EXIF orientation of an image file, from 1 to 8; 1 if it has none, or one that cannot be read."""
    if data.startswith(SOI):
        place = _place_in_jpeg(data)
        return 1 if place is None else _valid(int.from_bytes(data[place[0] : place[0] + 2], place[1]))
    if allowed_format(data) not in ("PNG", "WEBP", "TIFF"):
        return 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _valid(open_image(data).getexif().get(_TAG, 1))
    except (*UNREADABLE, ArithmeticError, LookupError, TypeError, AttributeError, struct.error):
        return 1


def upright(data: bytes) -> Upright | None:
    """Return an image turned as its EXIF says, with orientation 1 or without EXIF; None if nothing is to be done.

    Raises one of UNREADABLE (``opening``) for a damaged image.
    """
    way = orientation(data)
    if way == 1:
        return None
    if data.startswith(SOI):
        try:
            return Upright(data=_turned_jpeg(data, way), change="lossless")
        except UnsupportedJpeg:
            pass
    return _turned_pixels(data, way)


def turned(image: Image.Image, way: int) -> Image.Image:
    """Return an image turned as the EXIF orientation ``way`` says."""
    return image.transpose(_METHODS[way]) if way in _METHODS else image


def _valid(value: object) -> int:
    return value if isinstance(value, int) and value in _TURNS else 1


def _place_in_jpeg(data: bytes) -> tuple[int, Literal["little", "big"]] | None:
    """Return where the value of the orientation stands in a JPEG, two bytes, and their order."""
    for marker, start, end in segments(data, len(data)):
        if marker == 0xE1 and data[start + 4 : start + 10] == EXIF:
            place = _place_in_tiff(data[start + 10 : end])
            return place and (start + 10 + place[0], place[1])
    return None


def _place_in_tiff(tiff: bytes) -> tuple[int, Literal["little", "big"]] | None:
    """Return where the orientation stands in the first directory of EXIF (TIFF 6.0, section 2)."""
    if tiff[:4] not in (b"II*\0", b"MM\0*"):
        return None
    order: Literal["little", "big"] = "little" if tiff[:1] == b"I" else "big"
    first = int.from_bytes(tiff[4:8], order)
    count = int.from_bytes(tiff[first : first + 2], order)
    for entry in range(first + 2, first + 2 + 12 * min(count, _MOST_ENTRIES), 12):
        held = tiff[entry : entry + 12]
        if len(held) < 12:
            return None
        if int.from_bytes(held[:2], order) == _TAG:
            return (entry + 8, order) if int.from_bytes(held[2:4], order) == _SHORT else None
    return None


def _turned_pixels(data: bytes, way: int) -> Upright:
    image = load(open_image(data))
    out = BytesIO()
    if image.format == "JPEG":
        icc, sampling = image.info.get("icc_profile"), get_sampling(image)
        turned(image, way).save(
            out, "JPEG", quality=QUALITY, subsampling=sampling, icc_profile=icc, exif=b"", comment=b""
        )
        return Upright(data=out.getvalue(), change="reencoded")
    image = turned(image, way)
    if image.mode not in ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"):  # what PNG holds as it is
        from .rgb import rgb_of

        image = turned(rgb_of(open_image(data)), way)
    image.save(out, "PNG", exif=b"")
    return Upright(data=out.getvalue(), change="lossless")


def _turned_jpeg(data: bytes, way: int) -> bytes:
    """Return a JPEG whose blocks are turned. Raises UnsupportedJpeg if that is not possible without loss."""
    # Imported here: they take numba along, which counting orientations can do without.
    from .coefficients import Coefficients, Frame, write_sequential
    from .progressive import read_progressive
    from .sequential import read_sequential

    try:
        image = read_sequential(data)
    except UnsupportedJpeg as error:
        if error.kind != "progressive":
            raise
        image = read_progressive(data)
    transposed, mirrored, upturned = _TURNS[way]
    old = image.frame
    across, down = old.most
    whole_columns, whole_rows = old.width % (8 * across) == 0, old.height % (8 * down) == 0
    if transposed:
        whole_columns, whole_rows = whole_rows, whole_columns
    if (mirrored and not whole_columns) or (upturned and not whole_rows):
        raise UnsupportedJpeg("no-tiles", "its blocks at the edge are not whole MCUs, so it cannot be turned")
    components = old.components
    if transposed:
        components = tuple(replace(c, horizontal=c.vertical, vertical=c.horizontal) for c in components)
    new = Frame(
        width=old.height if transposed else old.width,
        height=old.width if transposed else old.height,
        components=components,
    )
    values = np.zeros((new.blocks, 64), np.int16)
    order = _order(transposed)
    signs = _signs(mirrored, upturned)
    for source, target in zip(old.planes(), new.planes(), strict=True):
        blocks = image.values[source.first : source.first + source.rows * source.stride]
        blocks = blocks.reshape(source.rows, source.stride, 64)[:, : source.columns]
        if transposed:
            blocks = blocks.swapaxes(0, 1)
        blocks = blocks[:: -1 if upturned else 1, :: -1 if mirrored else 1]
        place = values[target.first : target.first + target.rows * target.stride]
        place.reshape(target.rows, target.stride, 64)[:, : target.columns] = blocks[:, :, order] * signs
    result, _ = write_sequential(
        Coefficients(
            frame=new,
            values=values,
            quantisation={key: table[order] for key, table in image.quantisation.items()},
            segments=tuple(_turned_segment(segment, order) for segment in image.segments),
            trailing=image.trailing,
        )
    )
    return result


def _turned_segment(segment: Segment, order: npt.NDArray[np.int64]) -> Segment:
    """Return a segment of the turned image: its quantisation tables are transposed, and its orientation is 1."""
    payload = segment.payload
    if segment.marker == DQT:
        parts: list[bytes] = []
        while payload:
            dtype, size = (">u2", 129) if payload[0] >> 4 else ("u1", 65)
            parts += [payload[:1], np.frombuffer(payload[1:size], dtype)[order].tobytes()]
            payload = payload[size:]
        return replace(segment, payload=b"".join(parts))
    if segment.marker == 0xE1 and payload[:6] == EXIF and (place := _place_in_tiff(payload[6:])):
        start, byte_order = place[0] + 6, place[1]
        return replace(segment, payload=payload[:start] + (1).to_bytes(2, byte_order) + payload[start + 2 :])
    return segment


def _zigzag() -> npt.NDArray[np.int64]:
    """Return int64 (64, 2): the row and the column of each coefficient in zig-zag order (T.81 figure A.6)."""
    cells = [(row, column) for row in range(8) for column in range(8)]
    cells.sort(key=lambda cell: (sum(cell), cell[0] if sum(cell) % 2 else cell[1]))
    return np.array(cells, np.int64)


def _order(transposed: bool) -> npt.NDArray[np.int64]:
    """Return int64 (64,): of each coefficient in zig-zag order, which one of the source it is."""
    if not transposed:
        return np.arange(64)
    cells = _zigzag().tolist()
    return np.array([cells.index([column, row]) for row, column in cells], np.int64)


def _signs(mirrored: bool, upturned: bool) -> npt.NDArray[np.int16]:
    """Return int16 (64,): -1 for the coefficients that a mirror negates, those of odd frequency."""
    rows, columns = _zigzag().T
    odd = (columns % 2 * mirrored + rows % 2 * upturned) % 2
    return (1 - 2 * odd).astype(np.int16)

"""Image files of every mode, of known numbers, with the grey levels or colours that a viewer shows.

Each entry of ``MODES`` returns (the bytes of a file, the pixels uint8 (8, 8, 3)); ``grow`` repeats each pixel.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[Any]
Mode = Callable[[int], tuple[bytes, Array]]

SIDE = 8
STEPS = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)  # 0 to 63
GREY = (STEPS * 255 // 63).astype(np.uint8)
WIDE = (STEPS * 65535 // 63).astype(np.uint16)
COLOUR = np.stack([GREY, GREY[::-1], np.roll(GREY, 3, 0)], 2)
ALPHA = GREY.T.copy()
PALETTE = [(5 * i, 255 - 5 * i, 100 + i) for i in range(50)]


def grey(levels: Array) -> Array:
    return np.repeat(levels.astype(np.uint8)[:, :, None], 3, axis=2)


def grown(pixels: Array, grow: int) -> Array:
    return pixels.repeat(grow, axis=0).repeat(grow, axis=1)


def file_of(pixels: Array, mode: str, kind: str, grow: int, **options: Any) -> bytes:
    """A file of Pillow's, whose image has the very numbers of ``pixels``."""
    pixels = np.ascontiguousarray(grown(pixels, grow))
    out = io.BytesIO()
    image = Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    if mode == "P":
        image.putpalette([level for colour in PALETTE for level in colour])
    image.save(out, kind, **options)
    return out.getvalue()


def tiff_of(pixels: Array, grow: int, *, bits: Sequence[int], photometric: int = 1, sample_format: int = 1,
            extra: int | None = None, order: str = "<") -> bytes:  # fmt: skip
    """An uncompressed TIFF of one strip, of kinds that Pillow reads and does not write."""
    pixels = grown(pixels, grow)
    height, width = pixels.shape[:2]
    if bits == [12]:
        flat = pixels.reshape(-1, 2).astype(np.uint32)
        pair = flat[:, 0] << 12 | flat[:, 1]
        data = np.stack([pair >> 16, pair >> 8 & 255, pair & 255], 1).astype(np.uint8).tobytes()
    else:
        data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    offset = 8
    tags = {256: ("L", [width]), 257: ("L", [height]), 258: ("H", bits), 259: ("H", [1]), 262: ("H", [photometric]),
            273: ("L", [offset]), 277: ("H", [len(bits)]), 278: ("L", [height]), 279: ("L", [len(data)]),
            339: ("H", [sample_format] * len(bits))}  # fmt: skip
    if extra is not None:
        tags[338] = ("H", [extra])
    directory = b""
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{kind}", *values)
        assert len(packed) <= 4
        directory += struct.pack(f"{order}HHL", tag, 3 if kind == "H" else 4, len(values)) + packed.ljust(4, b"\0")
    padding = b"\0" * (len(data) % 2)
    start = struct.pack(f"{order}2sHL", b"II" if order == "<" else b"MM", 42, offset + len(data) + len(padding))
    return start + data + padding + struct.pack(f"{order}H", len(tags)) + directory + bytes(4)


def pgm_of(pixels: Array, grow: int, greatest: int) -> bytes:
    pixels = grown(pixels, grow)
    return f"P5\n{pixels.shape[1]} {pixels.shape[0]}\n{greatest}\n".encode() + pixels.astype(">u2").tobytes()


def png_of(samples: Array, colour_type: int, grow: int) -> bytes:
    """A 16-bit PNG of 2 (colour), 4 (grey and alpha) or 6 (colour and alpha)."""
    samples = grown(samples, grow)
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def of(pixels: Array, expected: Array, mode: str, kind: str, **options: Any) -> Mode:
    return lambda grow: (file_of(pixels, mode, kind, grow, **options), expected)


def tiff(pixels: Array, expected: Array, **options: Any) -> Mode:
    return lambda grow: (tiff_of(pixels, grow, **options), expected)


def palette_of(indexes: Array) -> Array:
    return np.array(PALETTE, np.uint8)[indexes]


INDEXES = (STEPS % 50).astype(np.uint8)
BITS = np.where(STEPS % 3 == 0, 255, 0).astype(np.uint8)
WIDE_COLOUR = np.stack([WIDE, WIDE[::-1], np.roll(WIDE, 3, 0)], 2)
CMYK = np.dstack([COLOUR, GREY.T // 2])
# Pillow's formula, as every loader used it before: (255 - C) * (255 - K) / 255.
OF_CMYK = np.asarray(Image.frombytes("CMYK", (SIDE, SIDE), CMYK.tobytes()).convert("RGB"))
SIGNED = (WIDE.astype(np.int32) - 32768).astype(np.int16)


def bits_of(kind: str) -> Mode:
    def build(grow: int) -> tuple[bytes, Array]:
        out = io.BytesIO()
        Image.fromarray(grown(BITS, grow)).convert("1", dither=Image.Dither.NONE).save(out, kind)
        return out.getvalue(), grey(BITS)

    return build


def gif(grow: int) -> tuple[bytes, Array]:
    """Two frames, of which the first counts."""
    out = io.BytesIO()
    first, second = (Image.fromarray(grown(levels, grow)) for levels in (GREY, 255 - GREY))
    first.save(out, "GIF", save_all=True, append_images=[second], duration=100)
    return out.getvalue(), grey(GREY)


MODES: dict[str, Mode] = {
    "I;16 png": of(WIDE, grey(WIDE >> 8), "I;16", "PNG"),
    "I;16 png, dark": of(WIDE >> 8, grey(GREY * 0), "I;16", "PNG"),  # not stretched: its white is 65,535
    "I;16 tiff": of(WIDE, grey(WIDE >> 8), "I;16", "TIFF"),
    "I;16B tiff": tiff(WIDE, grey(WIDE >> 8), bits=[16], order=">"),
    "I;16 tiff, deflated": of(WIDE, grey(WIDE >> 8), "I;16", "TIFF", compression="tiff_adobe_deflate"),
    "I;16 tiff, 0 is white": tiff(WIDE, grey(255 - (WIDE >> 8)), bits=[16], photometric=0),
    "I;12 tiff": tiff(WIDE >> 4, grey(WIDE >> 8), bits=[12]),
    "I pgm": lambda grow: (pgm_of(WIDE, grow, 65535), grey(WIDE >> 8)),
    "I pgm of 10 bits": lambda grow: (pgm_of(WIDE >> 6, grow, 1023), grey(np.round((WIDE >> 6) / 1023 * 65535) // 256)),
    "I tiff, signed 16": tiff(SIGNED, grey(np.maximum(SIGNED, 0) >> 7), bits=[16], sample_format=2),
    "I tiff, signed 16, big-endian": tiff(
        SIGNED, grey(np.maximum(SIGNED, 0) >> 7), bits=[16], sample_format=2, order=">"
    ),
    "I tiff of 8-bit numbers": of(GREY.astype(np.int32), grey(GREY), "I", "TIFF"),
    "I tiff of 16-bit numbers": of(WIDE.astype(np.int32), grey(WIDE >> 8), "I", "TIFF"),
    "I tiff of 32-bit numbers": tiff(WIDE.astype(np.uint32) << 16, grey(WIDE >> 8), bits=[32]),
    "I tiff of 31-bit numbers": of((WIDE.astype(np.int32) << 15), grey(WIDE >> 8), "I", "TIFF"),
    "F tiff, 0 to 1": of(GREY.astype(np.float32) / 255, grey(GREY), "F", "TIFF"),
    "F tiff, 0 to 255": of(GREY.astype(np.float32), grey(GREY), "F", "TIFF"),
    "F tiff, 0 to 65535": of(WIDE.astype(np.float32), grey(WIDE >> 8), "F", "TIFF"),
    "F tiff with holes": of(
        np.where(STEPS == 9, np.nan, np.where(STEPS == 10, -9999, GREY / 255)).astype(np.float32),
        grey(np.where((STEPS == 9) | (STEPS == 10), 0, GREY)), "F", "TIFF",
    ),
    "F tiff, 0 is white": tiff(
        GREY.astype(np.float32) / 255, grey(255 - GREY), bits=[32], sample_format=3, photometric=0,
    ),
    "F pfm": of(GREY.astype(np.float32) / 255, grey(GREY), "F", "PPM"),
    "L png": of(GREY, grey(GREY), "L", "PNG"),
    "L png, transparent": of(GREY, grey(GREY), "L", "PNG", transparency=0),
    "L bmp": of(GREY, grey(GREY), "L", "BMP"),
    "LA png": of(np.dstack([GREY, ALPHA]), grey(GREY), "LA", "PNG"),
    "LA png of 16 bits": lambda grow: (png_of(np.dstack([WIDE, WIDE.T]), 4, grow), grey(WIDE >> 8)),
    "La tiff": tiff(np.dstack([GREY, GREY * 0 + 255]), grey(GREY), bits=[8, 8], extra=1),
    "RGB png": of(COLOUR, COLOUR, "RGB", "PNG"),
    "RGB png of 16 bits": lambda grow: (png_of(WIDE_COLOUR, 2, grow), (WIDE_COLOUR >> 8).astype(np.uint8)),
    "RGB ppm": of(COLOUR, COLOUR, "RGB", "PPM"),
    "RGB webp": of(COLOUR, COLOUR, "RGB", "WEBP", lossless=True),
    "RGBA png": of(np.dstack([COLOUR, ALPHA]), COLOUR, "RGBA", "PNG"),
    "RGBA png of 16 bits": lambda grow: (
        png_of(np.dstack([WIDE_COLOUR, WIDE.T]), 6, grow), (WIDE_COLOUR >> 8).astype(np.uint8),
    ),
    "RGBA webp": of(np.dstack([COLOUR, ALPHA]), COLOUR, "RGBA", "WEBP", lossless=True, exact=True),
    "P png": of(INDEXES, palette_of(INDEXES), "P", "PNG"),
    "P png, one transparent": of(INDEXES, palette_of(INDEXES), "P", "PNG", transparency=3),
    "P png, some transparent": of(INDEXES, palette_of(INDEXES), "P", "PNG", transparency=bytes(range(0, 250, 5))),
    "P gif, transparent": of(INDEXES, palette_of(INDEXES), "P", "GIF", transparency=3),
    "L gif, two frames": gif,
    "1 png": bits_of("PNG"),
    "1 tiff": bits_of("TIFF"),
    "CMYK tiff": of(CMYK, OF_CMYK, "CMYK", "TIFF"),
}  # fmt: skip


def plain_pillow(data: bytes) -> Array:
    """What feedline 0.1 made of a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

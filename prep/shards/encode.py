"""How an image is changed on its way into a shard: copied, given restart markers, made smaller, or decoded.

"restart" keeps every coefficient and makes the image enterable (see ``restart``), a progressive one too (see
``progressive``); "resize" decodes, resizes, encodes again and adds the same markers; "raw" decodes, resizes if that is
requested, and stores the pixels (``archives.npy``). What cannot be encoded so, such as a damaged file, passes through
unchanged and is counted by its kind, because a writer of shards must not lose or invent an image.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from PIL import Image

from ..archives.npy import HEADER, first_pixel, to_npy
from ..base.errors import OutputError
from ..base.manifest import Encode
from ..base.typed import set_types
from ..images.geometry import Geometry, read_geometry
from ..images.headers import image_size
from ..images.jpeg import UnsupportedJpeg
from ..images.kinds import kind_of_image
from ..images.opening import UNREADABLE, foreign_format, pixel_size
from ..images.orientation import Change, orientation, turned, upright
from ..images.rgb import read_rgb
from ..sources.parts import MAX_IMAGE

SHORT_SIDE = 256
"""Default of "resize", in pixels."""
PIXELS = "raw"
"""The kind of an image that is pixels already, to which no marker can be added."""
FOREIGN = "foreign"
"""The kind of a file of a format that is not opened, such as EPS or AVIF."""


@dataclass(frozen=True, kw_only=True)
class EncodeSpec:
    """How images are encoded. Raises OutputError for values that make no sense."""

    encode: Encode = "restart"
    short_side: int | None = None
    """Of "resize" and "raw": pixels of the shorter side. A smaller image is not enlarged.

    None: 256 for "resize", the size of each image for "raw".
    """
    quality: int = 90
    """Of "resize": JPEG quality."""
    apply_orientation: bool = False
    """Turn images as their EXIF says; see ``images.orientation``."""

    def __post_init__(self) -> None:
        set_types(self, OutputError)
        if self.short_side is None and self.encode == "resize":
            object.__setattr__(self, "short_side", SHORT_SIDE)
        if self.short_side is not None and not 1 <= self.short_side <= 65535:
            raise OutputError(f"--short-side must be 1 to 65535 pixels, the most a JPEG holds, got {self.short_side}")
        if not 1 <= self.quality <= 100:
            raise OutputError(f"--quality must be 1 to 100, got {self.quality}")
        if self.apply_orientation and self.encode == "copy":
            raise OutputError("--apply-orientation changes images, and --encode copy does not; leave one of them out")


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """An image as it goes into a shard."""

    data: bytes
    size: tuple[int, int]
    """(width, height) in pixels; (0, 0) where the header cannot be read."""
    geometry: Geometry | None = None
    """Its tiles; None for an image that must be decoded whole."""
    first_pixel: int = 0
    """Where the pixels of a raw image begin in ``data``; 0 for an encoded one."""
    passed_through: str | None = None
    """The kind of an image that was left as it was although it should have been encoded."""
    made_sequential: bool = False
    """Whether it was a progressive JPEG and is a sequential one of the same coefficients."""
    turned: Change | None = None
    """How it was turned as its EXIF says; None if it was not."""


def encode_image(data: bytes, spec: EncodeSpec) -> Encoded:
    """Return an image encoded as ``spec`` says, or unchanged where that is not possible."""
    if spec.encode == "copy":
        return describe_image(data)
    way = orientation(data) if spec.apply_orientation else 1
    if way == 1:
        return _encode(data, spec)
    if spec.encode == "resize" and spec.short_side is not None and min(pixel_size(data)) > spec.short_side:
        found = _encode(data, spec, way)
        return found if found.passed_through else replace(found, turned="reencoded")
    if spec.encode == "raw":
        found = _encode(data, spec, way)
        return found if found.passed_through else replace(found, turned="lossless")
    try:
        changed = upright(data)
    except UNREADABLE:
        changed = None
    if changed is None:
        return _encode(data, spec)
    found = _encode(changed.data, spec)
    progressive = changed.change == "lossless" and kind_of_image(data) == "progressive jpeg"
    return replace(found, turned=changed.change, made_sequential=progressive)


def _encode(data: bytes, spec: EncodeSpec, way: int = 1) -> Encoded:
    if spec.encode == "restart" and first_pixel(data):
        return replace(describe_image(data), passed_through=PIXELS)
    try:
        if spec.encode == "restart":
            return _tiled(data)
        return _raw(data, spec, way) if spec.encode == "raw" else _smaller(data, spec, way)
    except UnsupportedJpeg as error:
        return Encoded(data=data, size=pixel_size(data), passed_through=error.kind)


def describe_image(data: bytes) -> Encoded:
    """Return an image unchanged, with the tiles or the pixels that it has already."""
    if start := first_pixel(data):
        return Encoded(data=data, size=pixel_size(data), first_pixel=start)
    try:
        geometry = read_geometry(data)
    except UnsupportedJpeg:
        return Encoded(data=data, size=pixel_size(data))
    return Encoded(data=data, size=(geometry.width, geometry.height), geometry=geometry)


def _tiled(data: bytes) -> Encoded:
    # Imported here: it takes numba along, which a copy, a reader of indexes and `feedline -h` can do without.
    from ..images.progressive import make_sequential
    from ..images.restart import add_restart_markers

    progressive = False
    try:
        data, geometry = add_restart_markers(data)
    except UnsupportedJpeg as error:
        progressive = error.kind == "progressive"
        if not progressive:
            raise
        data, geometry = make_sequential(data)
    return Encoded(data=data, size=(geometry.width, geometry.height), geometry=geometry, made_sequential=progressive)


def _raw(data: bytes, spec: EncodeSpec, way: int) -> Encoded:
    """Return the pixels of an image, as the loaders decode it."""
    try:
        image = _resized(data, spec.short_side, way)
    except UNREADABLE as error:
        return _refused(data, error)
    if HEADER + 3 * image.width * image.height > MAX_IMAGE:
        reason = f"its {image.width} x {image.height} pixels have more than {MAX_IMAGE} bytes"
        raise UnsupportedJpeg("too-large", reason)
    return Encoded(data=to_npy(np.asarray(image)), size=image.size, first_pixel=HEADER)


def _smaller(data: bytes, spec: EncodeSpec, way: int) -> Encoded:
    if spec.short_side is not None and 0 < min(image_size(data)) <= spec.short_side:
        with suppress(UnsupportedJpeg):  # small enough: encoding it again would only lose quality
            return _tiled(data)
    try:
        out = BytesIO()  # 4:2:0; metadata is dropped
        image = _resized(data, spec.short_side, way)
        image.save(out, "JPEG", quality=spec.quality, subsampling="4:2:0", comment=b"")
        return _tiled(out.getvalue())
    except UNREADABLE as error:
        return _refused(data, error)


def _refused(data: bytes, error: Exception) -> Encoded:
    """Return an image that is not opened as it is. Raises UnsupportedJpeg if it is damaged."""
    if foreign_format(data):
        return Encoded(data=data, size=(0, 0), passed_through=FOREIGN)
    raise UnsupportedJpeg("damaged", str(error)) from error


def _resized(data: bytes, short_side: int | None, way: int) -> Image.Image:
    """Return the image in RGB, turned, its short side at most ``short_side``."""
    image = turned(read_rgb(data), way)
    scale = 1 if short_side is None else short_side / min(image.size)
    if scale < 1:
        # Lanczos keeps the most detail of Pillow's antialiasing filters; a loader resizes once more.
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image

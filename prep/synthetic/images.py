"""The images of a synthetic data set: their classes, numbers, sizes and encodings.

The sizes of images and files follow ImageNet's and Tiny-ImageNet's, because the cost of reading and decoding
depends on them. Every image is a pure function of (seed, split, class, number). The same spec gives the same bytes
with any number of workers. ``archives`` and ``class_folders`` arrange the images.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice
from typing import Literal

import numpy as np

from ..base.errors import SourceError
from ..base.order import permutation, uniforms
from ..base.progress import Progress
from ..base.typed import set_types
from ..labels.imagenet import wnids
from .photographs import VARY_DRAWS, Encoding, encode, vary

Layout = Literal["ilsvrc2012", "tiny-imagenet", "imagefolder"]
SplitName = Literal["train", "val", "test"]

# The official numbers, so that every synthetic archive could be a part of the real one.
MOST_CLASSES: dict[Layout, int] = {"ilsvrc2012": 1000, "tiny-imagenet": 200, "imagefolder": 1000}
MOST_IMAGES: dict[Layout, int] = {"ilsvrc2012": 1300, "tiny-imagenet": 500, "imagefolder": 10_000}
MOST_VALIDATION = 50

ODD_KINDS: tuple[Encoding, ...] = ("png", "cmyk", "grey", "exif")
ODD_SHARE = 200  # one image in this many is of each odd kind except PNG, of which ImageNet has exactly one
TINY_GREY = 0.018  # in Tiny-ImageNet, 1,821 of 100,000 training images are greyscale

FORMATS: dict[str, Encoding] = {
    "jpg": "jpeg",
    "png": "rgb-png",
    "webp": "webp",
    "bmp": "bmp",
    "gif": "gif",
    "tiff": "tiff",
    "ppm": "ppm",
}
"""The image formats of an image folder, by the suffix of the file."""
USUAL_FORMATS = ("jpg", "png", "webp")
ODD_OF_FORMAT: dict[str, tuple[Encoding, ...]] = {
    "jpg": ("progressive", "rotated", "grey", "cmyk"),
    "png": ("palette", "grey16", "png"),
}
ODD_FOLDER_SHARE = 40  # one file in this many of a user's folder is of each odd kind

# The purpose of random numbers, which is the second part of their key after the seed.
SPLIT_KEYS: dict[SplitName, int] = {"train": 0, "val": 1, "test": 2}
ODD = 3


@dataclass(frozen=True, kw_only=True)
class SyntheticSpec:
    """The size and layout of a synthetic data set. Raises SourceError for a value out of range."""

    layout: Layout
    classes: int
    images_per_class: int
    """Training images of each class. The validation split has as many more, but at most 50."""
    seed: int = 0
    odd_files: bool = False
    """Whether the training images include odd kinds. In ``imagefolder`` these are progressive JPEGs, JPEGs with an
    EXIF orientation, greyscale, CMYK, and PNGs with a palette, 16 bits or transparency. In the other layouts they are
    ImageNet's: an RGBA PNG, CMYK, greyscale, damaged EXIF."""
    scale: float = 1.0
    """Factor of width and height of every image, for small data sets with many classes. ``tiny-imagenet`` has 1."""
    formats: tuple[str, ...] = ()
    """The formats that the images of a class take in turn, of ``imagefolder`` only; by default jpg, png, webp."""
    splits: bool = False
    """Whether an ``imagefolder`` has the folders train and val above the class folders."""

    def __post_init__(self) -> None:
        set_types(self, SourceError, besides=("layout", "formats"))
        if self.layout not in MOST_CLASSES:
            raise SourceError(f"layout must be one of {', '.join(MOST_CLASSES)}, got {self.layout}")
        most = {"classes": MOST_CLASSES[self.layout], "images_per_class": MOST_IMAGES[self.layout]}
        for name, limit in most.items():
            if not 1 <= getattr(self, name) <= limit:
                raise SourceError(f"{name} must be in 1..{limit} for {self.layout}, got {getattr(self, name)}")
        if not 0.05 <= self.scale <= 1 or (self.layout == "tiny-imagenet" and self.scale != 1):
            raise SourceError(f"scale must be in 0.05..1, and 1 for tiny-imagenet, got {self.scale}")
        if self.layout != "imagefolder" and (self.formats or self.splits):
            raise SourceError(f"formats and splits are options of the layout imagefolder, got {self.layout}")
        for name in self.formats:
            if name not in FORMATS:
                raise SourceError(f"formats must be among {', '.join(FORMATS)}, got {name}")
        if self.odd_files and not self.odd_kinds:
            raise SourceError(f"odd files are kinds of jpg and png, got the formats {', '.join(self.formats)}")
        if self.odd_files and self.train_images < len(self.odd_kinds):
            raise SourceError(f"odd files need at least {len(self.odd_kinds)} training images, got {self.train_images}")

    @property
    def odd_kinds(self) -> tuple[Encoding, ...]:
        """The encodings that ``odd_files`` mixes in."""
        if self.layout != "imagefolder":
            return ODD_KINDS
        formats = dict.fromkeys(self.formats or USUAL_FORMATS)
        return tuple(kind for name in formats for kind in ODD_OF_FORMAT.get(name, ()))

    @property
    def train_images(self) -> int:
        """Images in the training split."""
        return self.classes * self.images_per_class

    @property
    def validation_per_class(self) -> int:
        """Validation images of each class: as many as for training, but at most ImageNet's 50."""
        return min(MOST_VALIDATION, self.images_per_class)

    @property
    def wnids(self) -> tuple[str, ...]:
        """The wnids of the classes, spread evenly over the 1000 sorted ones."""
        return tuple(wnids()[i * len(wnids()) // self.classes] for i in range(self.classes))


@dataclass(frozen=True)
class ImageSpec:
    """One image: its path in the archive, and the values that determine its content."""

    path: str
    split: SplitName
    class_index: int
    number: int
    encoding: Encoding = "jpeg"


class Renderer:
    """A renderer of one spec's images, in a thread pool and in order."""

    AHEAD = 64
    """Images in progress or waiting: enough for 32 threads, and about 8 MB."""

    def __init__(self, spec: SyntheticSpec, pool: ThreadPoolExecutor, progress: Progress) -> None:
        self.spec = spec
        self._pool = pool
        self._progress = progress

    def render(self, images: Iterable[ImageSpec], total: int) -> Iterator[tuple[ImageSpec, bytes]]:
        """Yield each of the ``total`` images with the bytes of its file, in the given order."""
        submitted = ((image, self._pool.submit(render_image, self.spec, image)) for image in images)
        waiting: deque[tuple[ImageSpec, Future[bytes]]] = deque()
        for done in range(1, total + 1):
            waiting.extend(islice(submitted, self.AHEAD - len(waiting)))
            image, future = waiting.popleft()
            data = future.result()
            self._progress(f"{image.split} images", done, total)
            yield image, data


def render_image(spec: SyntheticSpec, image: ImageSpec) -> bytes:
    """Return the bytes of the image's file, which depend on the spec's seed, layout and scale and on ``image`` only."""
    key = (spec.seed, SPLIT_KEYS[image.split], image.class_index)
    draws = uniforms(np.array([image.number]), VARY_DRAWS + 4, *key)[0]
    shape, side, fine, odd = draws[VARY_DRAWS:].tolist()
    encoding = image.encoding
    if spec.layout == "tiny-imagenet":
        # Quality 85..92 gives Tiny-ImageNet's mean file, 2.1 kB. Shrinking has averaged the noise away.
        size, grain, quality = (64, 64), 1.0, 85 + int(8 * fine)
        if encoding == "jpeg" and odd < TINY_GREY:
            encoding = "grey"
    else:
        # Noise of 8 grey levels gives ImageNet's mean file, 115 kB, at quality 90..96.
        size, grain, quality = _size(shape, side, spec.scale), 8.0, 90 + int(7 * fine)
    return encode(vary(image.class_index, size, grain, draws[:VARY_DRAWS]), encoding, quality)


def _size(shape: float, side: float, scale: float) -> tuple[int, int]:
    """Return (width, height): 75 % landscape of 500 x 330..400, 20 % portrait, 5 % with a side of 800..1600."""
    if shape >= 0.95:
        longest = 800 + int(801 * side)
        shortest = longest * 3 // 4
    else:
        # Half of them have exactly a camera's 4:3 or 3:2, so that decoders get the same size repeatedly.
        longest = 500
        shortest = 375 if side < 0.25 else 333 if side < 0.5 else 330 + int(71 * (2 * side - 1))
    size = (shortest, longest) if 0.75 <= shape < 0.95 else (longest, shortest)
    return round(size[0] * scale), round(size[1] * scale)


def odd_encodings(spec: SyntheticSpec) -> dict[int, Encoding]:
    """Return {position among the training images of all classes: encoding} for those that are not ordinary JPEGs."""
    if not spec.odd_files:
        return {}
    if spec.layout == "imagefolder":
        each = max(1, spec.train_images // ODD_FOLDER_SHARE)
        kinds = [kind for kind in spec.odd_kinds for _ in range(each)]
    else:
        each = max(1, spec.train_images // ODD_SHARE)
        kinds: list[Encoding] = [ODD_KINDS[0], *(kind for kind in ODD_KINDS[1:] for _ in range(each))]
    places: list[int] = permutation(spec.train_images, spec.seed, ODD)[: len(kinds)].tolist()
    return dict(zip(places, kinds, strict=True))


def train_images(spec: SyntheticSpec, names: Callable[[SyntheticSpec, int], list[str]]) -> Iterator[ImageSpec]:
    """Yield the training images class by class; ``names(spec, class_index)`` returns the paths of one class."""
    odd = odd_encodings(spec)
    place = count()
    for class_index in range(spec.classes):
        for number, path in enumerate(names(spec, class_index)):
            yield ImageSpec(path, "train", class_index, number, odd.get(next(place), "jpeg"))

"""Synthetic class folders, as users have them: names of many scripts, several formats, with or without splits.

The names hold spaces, dots, apostrophes and brackets, and are valid on every system. As cameras do, several classes
number their files alike, and some suffixes are in upper case.
"""

import shutil
from pathlib import Path

from ..base.disks import naming
from ..base.errors import OutputError
from ..base.flush import flush_to_disk
from ..base.retries import put_in_place
from .images import FORMATS, USUAL_FORMATS, ImageSpec, Renderer, SplitName, SyntheticSpec, odd_encodings

NAMES = (
    "St. Bernard",
    "кот",
    "柴犬",
    "café au lait",
    "قطة",
    "Ελληνικός ποιμενικός",
    "강아지",
    "बिल्ली",
    "O'Brien's mare",
    "v1.2 (beta)",
    "חתול",
    "แมว",
    "Ångström",
    "black & white",
    "🐶 dog",
    "chó đốm",
)
FILES = ("IMG_{:04d}.{}", "photo {}.{}", "2024.07.04 {:02d}.{}", "изображение ({}).{}")
ODD_SUFFIXES = {"palette": "png", "grey16": "png", "png": "png"}  # all other odd kinds are JPEGs


def class_names(classes: int) -> tuple[str, ...]:
    """Return the names of the first ``classes`` class folders; after the 16 names, the rounds are numbered."""
    return tuple(
        NAMES[i] if i < len(NAMES) else f"{NAMES[i % len(NAMES)]} {i // len(NAMES) + 1}" for i in range(classes)
    )


def write_class_folders(out: Path, renderer: Renderer) -> None:
    """Write ``out``/<class>/ with the images of each class, or ``out``/train/<class>/ and ``out``/val/<class>/.

    ``out`` gets its name when it is complete. Raises OutputError if it exists and is not empty.
    """
    out = out.absolute()  # "." has no name
    partial = out.with_name(out.name + ".partial")
    for path in (out, partial):
        if path.exists() and not (path is out and path.is_dir() and not any(path.iterdir())):
            raise OutputError(f"{path} exists already and is not replaced; give another folder")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"cannot create the folder {out} ({error.strerror}); give another folder") from error
    try:
        _write(partial, renderer)
        with naming(out):
            flush_to_disk(partial)
        if out.exists():
            out.rmdir()
        put_in_place(partial, out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write(folder: Path, renderer: Renderer) -> None:
    spec = renderer.spec
    images = _images(spec, "train", spec.images_per_class)
    if spec.splits:
        images += _images(spec, "val", spec.validation_per_class)
    for image, data in renderer.render(images, len(images)):
        path = folder / image.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with naming(path):
            path.write_bytes(data)


def _images(spec: SyntheticSpec, split: SplitName, per_class: int) -> list[ImageSpec]:
    odd = odd_encodings(spec) if split == "train" else {}
    formats = spec.formats or USUAL_FORMATS
    images: list[ImageSpec] = []
    for class_index, name in enumerate(class_names(spec.classes)):
        folder = f"{split}/{name}" if spec.splits else name
        for number in range(per_class):
            suffix = formats[(number + class_index) % len(formats)]
            encoding = FORMATS[suffix]
            if kind := odd.get(len(images)):
                encoding, suffix = kind, ODD_SUFFIXES.get(kind, "jpg")
            path = f"{folder}/{_file_name(number, suffix)}"
            images.append(ImageSpec(path, split, class_index, number, encoding))
    return images


def _file_name(number: int, suffix: str) -> str:
    """Return the file's name; every seventh suffix is in upper case."""
    return FILES[number % len(FILES)].format(number + 1, suffix.upper() if number % 7 == 6 else suffix)

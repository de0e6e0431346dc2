"""Archives that look like the official ones, made of free photographs: a rehearsal before the real download.

ImageNet may not be redistributed and weighs 150 GB, so nothing could be tried, tested or benchmarked without
these. Names, numbering, labels, nesting and tar dialect follow the official archives, so that preparing one
needs no special case. Only the owner's name in the tar headers tells them apart: 1000 classes of 20 images are a
rehearsal with it, and a damaged ImageNet without.
"""

import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..base.cpus import usable_cpus
from ..base.errors import OutputError
from ..base.order import permutation, uniforms
from ..base.progress import Progress, silent
from ..base.scanners import put_in_place
from ..labels.imagenet import class_names, validation_labels
from ..sources.parts import SIGNATURE
from .images import (
    SPLIT_KEYS,
    ImageSpec,
    Layout,
    SplitName,
    Studio,
    SyntheticSpec,
    train_images,
)
from .photographs import warm_up

TINY_ROOT = "tiny-imagenet-200"

# What random numbers are for: the second part of their key, after the seed (0 to 3 are taken by the images).
NUMBERS, WNID_ORDER, VAL_ORDER, TEST_ORDER, BOXES = range(4, 9)


def write_synthetic(
    out: Path, spec: SyntheticSpec, progress: Progress = silent, workers: int | None = None
) -> tuple[Path, ...]:
    """Write the archives of ``spec`` into the folder ``out`` and return their paths.

    Layout ``ilsvrc2012``: ``ILSVRC2012_img_train.tar`` (a tar of one tar per class), ``ILSVRC2012_img_val.tar``
    and ``ILSVRC2012_img_test_v10102019.tar``. Layout ``tiny-imagenet``: ``tiny-imagenet-200.zip``. The test
    split has one unlabelled image per class. ``workers`` counts threads, by default one per usable CPU.
    Each archive appears under its name when it is whole.

    Raises OutputError when an archive exists already or ``out`` cannot be a folder, SourceError when the
    bundled photographs are not installed, and OSError (a full disk, say) after removing the unfinished file.
    """
    writers = ARCHIVES[spec.layout]
    paths = tuple(out / name for name in writers)
    _claim(out, paths)
    warm_up()
    with ThreadPoolExecutor(max(1, usable_cpus() if workers is None else workers)) as pool:
        for path, write in zip(paths, writers.values(), strict=True):
            with _finished(path) as file:
                write(file, Studio(spec, pool, progress))
    return paths


def _write_train(file: BinaryIO, studio: Studio) -> None:
    spec = studio.spec
    wnids = spec.wnids
    drawn = studio.drawn(train_images(spec, _train_names), spec.train_images)
    with _tar(file) as outer:
        for class_index, members in groupby(drawn, lambda item: item[0].class_index):
            # A tar's size stands before it, so one class is held in memory: 150 MB for 1300 images.
            inner = BytesIO()
            with _tar(inner) as tar:
                for image, data in members:
                    _add(tar, image.path, BytesIO(data), len(data))
            size = inner.tell()
            inner.seek(0)
            _add(outer, f"{wnids[class_index]}.tar", inner, size)


def _write_validation(file: BinaryIO, studio: Studio) -> None:
    _write_flat(file, studio, _validation_images(studio.spec))


def _write_test(file: BinaryIO, studio: Studio) -> None:
    classes = permutation(studio.spec.classes, studio.spec.seed, TEST_ORDER).tolist()
    names = "test/ILSVRC2012_test_{:08d}.JPEG"
    images = [ImageSpec(names.format(i), "test", c, 0) for i, c in enumerate(classes, 1)]
    _write_flat(file, studio, images)


def _write_flat(file: BinaryIO, studio: Studio, images: list[ImageSpec]) -> None:
    with _tar(file) as tar:
        for image, data in studio.drawn(images, len(images)):
            _add(tar, image.path, BytesIO(data), len(data))


def _train_names(spec: SyntheticSpec, class_index: int) -> list[str]:
    """Return one class's file names, sorted; as in ImageNet their numbers have gaps and no fixed width."""
    gaps = uniforms(np.arange(spec.images_per_class), 1, spec.seed, NUMBERS, class_index)[:, 0]
    numbers = np.cumsum(1 + (28 * gaps).astype(np.int64)).tolist()
    return sorted(f"{spec.wnids[class_index]}_{number}.JPEG" for number in numbers)


def _validation_images(spec: SyntheticSpec) -> list[ImageSpec]:
    """Return the first official validation names of each class: prepared by the official labels, they fit."""
    classes = {wnid: class_index for class_index, wnid in enumerate(spec.wnids)}
    taken = Counter[str]()
    images: list[ImageSpec] = []
    for name, wnid in validation_labels().items():
        if wnid in classes and taken[wnid] < spec.validation_per_class:
            images.append(ImageSpec(name, "val", classes[wnid], taken[wnid]))
            taken[wnid] += 1
    return images


def _tar(file: BinaryIO) -> tarfile.TarFile:
    # The classic dialect, as in 2012: no extended headers, and an end padded to 10,240 bytes.
    return tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)


def _add(tar: tarfile.TarFile, name: str, data: BinaryIO, size: int) -> None:
    info = tarfile.TarInfo(name)  # its owner, group and time are 0 already
    info.uname = SIGNATURE
    info.size = size
    tar.addfile(info, data)


def _write_tiny(file: BinaryIO, studio: Studio) -> None:
    spec = studio.spec
    validation, test = _tiny_validation(spec), _tiny_test(spec)
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in _tiny_texts(spec, validation):
            _put(archive, path, text.encode())
        for images, total in (
            (train_images(spec, _tiny_train_names), spec.train_images),
            (validation, len(validation)),
            (test, len(test)),
        ):
            for image, data in studio.drawn(images, total):
                _put(archive, image.path, data)


def _tiny_train_names(spec: SyntheticSpec, class_index: int) -> list[str]:
    wnid = spec.wnids[class_index]
    return [f"train/{wnid}/images/{wnid}_{number}.JPEG" for number in range(spec.images_per_class)]


def _tiny_validation(spec: SyntheticSpec) -> list[ImageSpec]:
    order = permutation(spec.classes * spec.validation_per_class, spec.seed, VAL_ORDER).tolist()
    return [
        ImageSpec(f"val/images/val_{i}.JPEG", "val", *divmod(place, spec.validation_per_class))
        for i, place in enumerate(order)
    ]


def _tiny_test(spec: SyntheticSpec) -> list[ImageSpec]:
    classes = permutation(spec.classes, spec.seed, TEST_ORDER).tolist()
    return [ImageSpec(f"test/images/test_{i}.JPEG", "test", c, 0) for i, c in enumerate(classes)]


def _tiny_texts(spec: SyntheticSpec, validation: list[ImageSpec]) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of everything that is no image; a path that ends in a slash is a folder."""
    wnids = spec.wnids
    for folder in ("", "train/", "val/", "val/images/", "test/", "test/images/"):
        yield folder, ""
    order = permutation(spec.classes, spec.seed, WNID_ORDER)
    yield "wnids.txt", "".join(f"{wnids[i]}\n" for i in order)  # unsorted, as in the original
    yield "words.txt", "".join(f"{wnid}\t{name}\n" for wnid, name in class_names().items())
    for class_index, wnid in enumerate(wnids):
        yield f"train/{wnid}/", ""
        yield f"train/{wnid}/images/", ""
        numbers = range(spec.images_per_class)
        boxes = (_box(spec, "train", class_index, number) for number in numbers)
        lines = (f"{wnid}_{number}.JPEG\t{box}\n" for number, box in zip(numbers, boxes, strict=True))
        yield f"train/{wnid}/{wnid}_boxes.txt", "".join(lines)
    annotations = (
        f"{Path(p.path).name}\t{wnids[p.class_index]}\t{_box(spec, 'val', p.class_index, p.number)}\n"
        for p in validation
    )
    yield "val/val_annotations.txt", "".join(annotations)


def _box(spec: SyntheticSpec, split: SplitName, class_index: int, number: int) -> str:
    """Return an object's box as xmin, ymin, xmax, ymax in 0..63, separated by tabs."""
    draws = uniforms(np.array([number]), 4, spec.seed, BOXES, SPLIT_KEYS[split], class_index)[0]
    corners = draws * 28 + (0, 0, 36, 36)
    return "\t".join(str(int(corner)) for corner in corners)


def _put(archive: zipfile.ZipFile, path: str, data: bytes) -> None:
    info = zipfile.ZipInfo(f"{TINY_ROOT}/{path}")  # dated 1980-01-01, and stored: JPEGs do not shrink
    info.create_system = 3  # Unix, on Windows too: the bytes must not depend on where they were made
    info.external_attr = (0o040755 if info.is_dir() else 0o100644) << 16
    archive.writestr(info, data)


def _claim(out: Path, paths: tuple[Path, ...]) -> None:
    """Make the folder, and refuse to replace an archive: it could be the real one, of 150 GB."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {out} ({error.strerror}); name another one") from error
    for path in paths:
        if path.exists():
            raise OutputError(f"{path} exists already and is not replaced; remove it or name another folder")


@contextmanager
def _finished(path: Path) -> Generator[BinaryIO]:
    """Open a file that appears at ``path`` only when it is whole: temporary name, fsync, rename."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        put_in_place(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


Writer = Callable[[BinaryIO, Studio], None]

ARCHIVES: dict[Layout, dict[str, Writer]] = {
    "ilsvrc2012": {
        "ILSVRC2012_img_train.tar": _write_train,
        "ILSVRC2012_img_val.tar": _write_validation,
        "ILSVRC2012_img_test_v10102019.tar": _write_test,
    },
    "tiny-imagenet": {f"{TINY_ROOT}.zip": _write_tiny},
}

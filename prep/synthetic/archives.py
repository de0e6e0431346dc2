"""Synthetic archives with the official layout, made of free photographs.

ImageNet may not be redistributed and has 150 GB. With synthetic archives, users and tests can try and benchmark
feedline without it. Names, numbering, labels, nesting and tar dialect follow the official archives, so that
preparing them needs no special case. Only the owner's name in the tar headers marks them as synthetic. With it,
1000 classes of 20 images are accepted; without it, they are rejected as a damaged ImageNet.
"""

import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..base.disks import naming
from ..base.documents import written_whole
from ..base.errors import OutputError
from ..base.order import permutation, uniforms
from ..base.paths import GivenPath
from ..base.progress import Progress, silent
from ..labels.imagenet import class_names, validation_labels
from ..limits.cpus import usable_cpus
from ..sources.parts import SIGNATURE
from .class_folders import write_class_folders
from .images import (
    SPLIT_KEYS,
    ImageSpec,
    Layout,
    Renderer,
    SplitName,
    SyntheticSpec,
    train_images,
)
from .photographs import warm_up

TINY_ROOT = "tiny-imagenet-200"

# The purpose of random numbers, which is the second part of their key after the seed. ``images`` uses 0 to 3.
NUMBERS, WNID_ORDER, VAL_ORDER, TEST_ORDER, BOXES = range(4, 9)


def write_synthetic(
    out: GivenPath, spec: SyntheticSpec, progress: Progress = silent, workers: int | None = None
) -> tuple[Path, ...]:
    """Write the archives or class folders of ``spec`` into the folder ``out`` and return what was written.

    Layout ``ilsvrc2012``: ``ILSVRC2012_img_train.tar`` (a tar of one tar per class), ``ILSVRC2012_img_val.tar``
    and ``ILSVRC2012_img_test_v10102019.tar``. Layout ``tiny-imagenet``: ``tiny-imagenet-200.zip``. The test
    split has one unlabelled image per class. Layout ``imagefolder``: class folders as users have them, in ``out``
    itself, so the path that is returned is ``out``. ``workers`` is the number of threads, by default one per usable
    CPU. Each archive, and the folder of an ``imagefolder``, gets its final name when it is complete.

    Raises OutputError if an archive exists already, if ``out`` of an ``imagefolder`` is not empty, or if it cannot be
    a folder, and SourceError if the bundled photographs are not installed. Raises OSError (for example on a full
    disk) after removing the unfinished file or folder.
    """
    threads, place = max(1, usable_cpus() if workers is None else workers), Path(out)
    if spec.layout == "imagefolder":
        warm_up()
        with ThreadPoolExecutor(threads) as pool:
            write_class_folders(place, Renderer(spec, pool, progress))
        return (place,)
    writers = ARCHIVES[spec.layout]
    paths = tuple(place / name for name in writers)
    _make_folder(place, paths)
    warm_up()
    with ThreadPoolExecutor(threads) as pool:
        for path, write in zip(paths, writers.values(), strict=True):
            with naming(path), written_whole(path) as file:
                write(file, Renderer(spec, pool, progress))
    return paths


def _write_train(file: BinaryIO, renderer: Renderer) -> None:
    spec = renderer.spec
    wnids = spec.wnids
    rendered = renderer.render(train_images(spec, _train_names), spec.train_images)
    with _tar(file) as outer:
        for class_index, members in groupby(rendered, lambda item: item[0].class_index):
            # The header with a tar's size comes first, so one class is kept in memory: 150 MB for 1300 images.
            inner = BytesIO()
            with _tar(inner) as tar:
                for image, data in members:
                    _add_to_tar(tar, image.path, BytesIO(data), len(data))
            size = inner.tell()
            inner.seek(0)
            _add_to_tar(outer, f"{wnids[class_index]}.tar", inner, size)


def _write_validation(file: BinaryIO, renderer: Renderer) -> None:
    _write_flat(file, renderer, _validation_images(renderer.spec))


def _write_test(file: BinaryIO, renderer: Renderer) -> None:
    classes = permutation(renderer.spec.classes, renderer.spec.seed, TEST_ORDER).tolist()
    names = "test/ILSVRC2012_test_{:08d}.JPEG"
    images = [ImageSpec(names.format(i), "test", c, 0) for i, c in enumerate(classes, 1)]
    _write_flat(file, renderer, images)


def _write_flat(file: BinaryIO, renderer: Renderer, images: list[ImageSpec]) -> None:
    with _tar(file) as tar:
        for image, data in renderer.render(images, len(images)):
            _add_to_tar(tar, image.path, BytesIO(data), len(data))


def _train_names(spec: SyntheticSpec, class_index: int) -> list[str]:
    """Return one class's sorted file names. As in ImageNet, their numbers have gaps and no fixed width."""
    gaps = uniforms(np.arange(spec.images_per_class), 1, spec.seed, NUMBERS, class_index)[:, 0]
    numbers = np.cumsum(1 + (28 * gaps).astype(np.int64)).tolist()
    return sorted(f"{spec.wnids[class_index]}_{number}.JPEG" for number in numbers)


def _validation_images(spec: SyntheticSpec) -> list[ImageSpec]:
    """Return images of each class under its first official validation names, so that the official labels apply."""
    classes = {wnid: class_index for class_index, wnid in enumerate(spec.wnids)}
    taken = Counter[str]()
    images: list[ImageSpec] = []
    for name, wnid in validation_labels().items():
        if wnid in classes and taken[wnid] < spec.validation_per_class:
            images.append(ImageSpec(name, "val", classes[wnid], taken[wnid]))
            taken[wnid] += 1
    return images


def _tar(file: BinaryIO) -> tarfile.TarFile:
    # The dialect of the official archives of 2012: no extended headers, and an end padded to 10,240 bytes.
    return tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)


def _add_to_tar(tar: tarfile.TarFile, name: str, data: BinaryIO, size: int) -> None:
    info = tarfile.TarInfo(name)  # owner id, group id and time default to 0
    info.uname = SIGNATURE
    info.size = size
    tar.addfile(info, data)


def _write_tiny(file: BinaryIO, renderer: Renderer) -> None:
    spec = renderer.spec
    validation, test = _tiny_validation(spec), _tiny_test(spec)
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in _tiny_texts(spec, validation):
            _add_to_zip(archive, path, text.encode())
        for images, total in (
            (train_images(spec, _tiny_train_names), spec.train_images),
            (validation, len(validation)),
            (test, len(test)),
        ):
            for image, data in renderer.render(images, total):
                _add_to_zip(archive, image.path, data)


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
    """Yield (path, text) of every entry that is not an image; a path that ends with a slash is a folder."""
    wnids = spec.wnids
    for folder in ("", "train/", "val/", "val/images/", "test/", "test/images/"):
        yield folder, ""
    order = permutation(spec.classes, spec.seed, WNID_ORDER)
    yield "wnids.txt", "".join(f"{wnids[i]}\n" for i in order)  # unsorted, as in the original archive
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


def _add_to_zip(archive: zipfile.ZipFile, path: str, data: bytes) -> None:
    info = zipfile.ZipInfo(f"{TINY_ROOT}/{path}")  # dated 1980-01-01, and stored, because JPEGs do not shrink
    info.create_system = 3  # Unix, so that the bytes do not depend on the system
    info.external_attr = (0o040755 if info.is_dir() else 0o100644) << 16
    archive.writestr(info, data)


def _make_folder(out: Path, paths: tuple[Path, ...]) -> None:
    """Create ``out``; raise OutputError if it holds one of ``paths``, which could be the real archive of 150 GB."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create the folder {out} ({error.strerror}); give another folder") from error
    for path in paths:
        if path.exists():
            raise OutputError(f"{path} exists already and is not replaced; give another folder")


Writer = Callable[[BinaryIO, Renderer], None]

ARCHIVES: dict[Layout, dict[str, Writer]] = {
    "ilsvrc2012": {
        "ILSVRC2012_img_train.tar": _write_train,
        "ILSVRC2012_img_val.tar": _write_validation,
        "ILSVRC2012_img_test_v10102019.tar": _write_test,
    },
    "tiny-imagenet": {f"{TINY_ROOT}.zip": _write_tiny},
}

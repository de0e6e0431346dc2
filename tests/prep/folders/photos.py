"""Own images for tests: class folders of any names, and the archives that hold them."""

import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from ..trees import Files

CLASSES = ("Kätzchen", "v1.0 слон", "犬 dog")


def image(number: int, suffix: str = ".jpg") -> bytes:
    """A small image that is different for each number, in the format of the suffix."""
    form = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}[suffix.lower()]
    out = io.BytesIO()
    Image.new("RGB", (40, 32), (number % 256, 3 * number % 256, 90)).save(out, form)
    return out.getvalue()


def classes(
    names: Iterable[str] = CLASSES, images: int = 6, suffixes: tuple[str, ...] = (".jpg", ".PNG"), start: int = 0
) -> Files:
    """{path: bytes} of class folders; the names of the images have spaces and dots."""
    return {
        f"{name}/img {n}.v2{suffixes[n % len(suffixes)]}": image(start + 40 * c + n, suffixes[n % len(suffixes)])
        for c, name in enumerate(names)
        for n in range(images)
    }


def below(folder: str, files: Files) -> Files:
    return {f"{folder}/{path}": data for path, data in files.items()}


def zipped(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for name, data in files.items():
            out.writestr(name, data)
    return path


def tarred(path: Path, files: Files, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as out:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path

"""Data sets as {path: bytes}, the forms in which people have them, and the tars and folders that hold them."""

import io
import tarfile
from pathlib import Path

TRAIN, VAL, TEST = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_img_test_v10102019.tar"

Files = dict[str, bytes]


def tree(root: Path) -> Files:
    """{path: bytes} of everything but the manifest, which names the sources."""
    files = (path for path in root.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def only(files: Files, *splits: str) -> Files:
    return {path: data for path, data in files.items() if path.startswith(splits)}


def flat(files: Files) -> Files:
    """Validation images without their class folders."""
    return {
        f"{path.split('/')[0]}/{path.split('/')[-1]}" if path.startswith("val/") else path: data
        for path, data in files.items()
    }


def hugging_face(files: Files) -> Files:
    """Hugging Face's names: the class behind the original name."""
    return {
        f"{path.split('/')[-1].removesuffix('.JPEG')}_{path.split('/')[1]}.JPEG": data for path, data in files.items()
    }


def write_tree(out: Path, files: Files) -> Path:
    for name, data in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return out


def write_tar(path: Path, files: Files, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # the default dialect, pax, as re-packers use it
        _add(tar, files)
    return path


def tar_of(files: Files, format_: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar of the classic dialect, as ImageNet's own are."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format_) as tar:
        _add(tar, files)
    return out.getvalue()


def _add(tar: tarfile.TarFile, files: Files) -> None:
    for name, data in files.items():
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))

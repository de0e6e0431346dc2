"""The layouts in which people have ImageNet, each made of the files of a prepared root.

A builder takes an empty folder, the official archives and the root's {path: bytes}, and returns the sources.
"""

import gzip
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from feedline.prep import wnids

from .trees import TEST, TRAIN, VAL, Files, flat, hugging_face, only, write_tar, write_tree


def write_zip(path: Path, files: Files, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def kaggle(files: Files) -> Files:
    """Kaggle's tree: val flat, and lists and annotations around it."""
    labels = "ImageId,PredictionString\n" + "".join(
        f"{path.split('/')[-1].removesuffix('.JPEG')},{path.split('/')[1]} 1 2 3 4 {path.split('/')[1]} 5 6 7 8\n"
        for path in sorted(only(files, "val/"), reverse=True)
    )
    return {
        "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000001.xml": b"<annotation/>",
        **{f"ILSVRC/Data/CLS-LOC/{path}": data for path, data in flat(files).items()},
        "ILSVRC/ImageSets/CLS-LOC/val.txt": b"ILSVRC2012_val_00000001 1\n",
        "LOC_synset_mapping.txt": b"n01440764 tench, Tinca tinca\n",
        "LOC_val_solution.csv": labels.encode(),
    }


def as_class_tars(place: Path, archives: Path, files: Files) -> list[Path]:
    with tarfile.open(archives / TRAIN) as tar:
        tar.extractall(place / "train", filter="data")
    return [place, archives / VAL, archives / TEST]


def as_class_folders(place: Path, archives: Path, files: Files) -> list[Path]:
    return [write_tree(place, {**files, "train/n01440764/Thumbs.db": b"x", "README.md": b"y"})]


def as_split_folders(place: Path, archives: Path, files: Files) -> list[Path]:
    write_tree(place, files)
    return [place / "train", place / "val", place / "test"]


def as_flat_val(place: Path, archives: Path, files: Files) -> list[Path]:
    return [write_tree(place, flat(files))]


def as_half_moved_val(place: Path, archives: Path, files: Files) -> list[Path]:
    """valprep.sh stopped half-way: some images lie in class folders, the others still flat."""
    moved = set(list(only(files, "val/"))[::2])
    half = {path if path in moved else next(iter(flat({path: data}))): data for path, data in files.items()}
    return [write_tree(place, half)]


def as_kaggle_tree(place: Path, archives: Path, files: Files) -> list[Path]:
    return [write_tree(place, kaggle(files))]


def as_kaggle_zip(place: Path, archives: Path, files: Files) -> list[Path]:
    return [write_zip(place / "imagenet-object-localization-challenge.zip", kaggle(files))]


def as_packed_zip(place: Path, archives: Path, files: Files) -> list[Path]:
    return [write_zip(place / "renamed.bin", kaggle(files), zipfile.ZIP_DEFLATED)]


def as_kaggle_tar(place: Path, archives: Path, files: Files) -> list[Path]:
    """The tar.gz that Kaggle's older zip holds."""
    return [write_tar(place / "imagenet_object_localization_patched2019.tar.gz", kaggle(files), "w:gz")]


def as_hugging_face(place: Path, archives: Path, files: Files) -> list[Path]:
    train = sorted(hugging_face(only(files, "train/")).items(), key=lambda item: item[1])
    for i in range(5):
        write_tar(place / f"train_images_{i}.tar.gz", dict(train[i::5]), "w:gz")
    write_tar(place / "val_images.tar.gz", hugging_face(only(files, "val/")), "w:gz")
    write_tar(place / "test_images.tar.gz", {path[5:]: data for path, data in only(files, "test/").items()}, "w:gz")
    return [place]


def as_parquet(place: Path, archives: Path, files: Files) -> list[Path]:
    pa = pytest.importorskip("pyarrow", reason="parquet files need pyarrow (extra parquet)")
    import pyarrow.parquet as pq

    rows = {"train": list(hugging_face(only(files, "train/")).items())}
    rows["validation"] = list(hugging_face(only(files, "val/")).items())
    rows["test"] = [(path[5:], data) for path, data in only(files, "test/").items()]
    (place / "data").mkdir()
    for split, found in rows.items():
        for i in range(2 if split == "train" else 1):
            part = found[i::2] if split == "train" else found
            labels = [wnids().index(name[-14:-5]) if split != "test" else -1 for name, _ in part]
            images = [{"bytes": data, "path": name} for name, data in part]
            table = pa.table({"image": images, "label": labels})
            pq.write_table(table, place / "data" / f"{split}-0000{i}-of-00002.parquet")
    return [place]


def as_flat_everything(place: Path, archives: Path, files: Files) -> list[Path]:
    """All class tars extracted into one folder: the official names still tell the class."""
    return [write_tree(place, {f"{path.split('/')[0]}/{path.split('/')[-1]}": data for path, data in files.items()})]


def as_renamed_tars(place: Path, archives: Path, files: Files) -> list[Path]:
    """Names mean nothing: the archives are called a, b and c, and the second is gzipped."""
    shutil.copy(archives / TRAIN, place / "a")
    (place / "b").write_bytes(gzip.compress((archives / VAL).read_bytes()))
    shutil.copy(archives / TEST, place / "c")
    return [place / "a", place / "b", place / "c"]


def as_tree_tar(place: Path, archives: Path, files: Files) -> list[Path]:
    """``tar cf imagenet.tar .`` of the finished folders."""
    return [write_tar(place / "imagenet.tar", {f"./{path}": data for path, data in files.items()})]


LAYOUTS: dict[str, Callable[[Path, Path, Files], list[Path]]] = {
    name.removeprefix("as_"): build for name, build in list(globals().items()) if name.startswith("as_")
}

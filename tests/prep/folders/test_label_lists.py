"""Labels from the devkit, from lists and from inside the sources: read safely, and they must agree."""

import contextlib
import io
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from feedline.prep import (
    SourceError,
    prepare_imagenet,
    read_manifest,
    validation_labels,
    wnids,
)
from feedline.prep.archives.mat import read_structs

from ..trees import VAL, Files, tar_of, write_tar, write_tree

THREE = [("ILSVRC2012_ID", object), ("WNID", object), ("num_children", object)]


def devkit(labels: dict[str, str], *, compressed: bool = True, sorted_ids: bool = False) -> Files:
    """A devkit as SciPy writes it; its ids are an order of their own, or (wrongly) the sorted index."""
    from scipy.io import savemat

    order = np.random.default_rng(7).permutation(1000)
    ids = {wnid: int(order[i]) + 1 for i, wnid in enumerate(wnids())}
    kinds = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("num_children", object)]
    kinds += [("children", object), ("num_train_images", object)]
    rows = [(float(i), wnid, "kit fox, Vulpes macrotis", 0.0, np.zeros(0), 1300.0) for wnid, i in ids.items()]
    rows.sort()
    rows += [(1001.0, "n00001740", "entity", 2.0, np.array([1.0, 2.0]), 0.0)]
    out = io.BytesIO()
    savemat(out, {"synsets": np.array(rows, dtype=kinds).reshape(-1, 1)}, do_compression=compressed)
    written = {wnid: i for i, wnid in enumerate(wnids(), 1)} if sorted_ids else ids
    truth = "".join(f"{written[wnid]}\r\n" for _, wnid in sorted(labels.items()))
    top = "ILSVRC2012_devkit_t12"
    return {
        f"{top}/readme.txt": b"Development Kit",
        f"{top}/data/meta.mat": out.getvalue(),
        f"{top}/data/ILSVRC2012_validation_ground_truth.txt": truth.encode(),
    }


def as_devkit(place: Path, labels: dict[str, str]) -> Path:
    return write_tar(place / "ILSVRC2012_devkit_t12.tar.gz", devkit(labels), "w:gz")


def as_unzipped_devkit(place: Path, labels: dict[str, str]) -> Path:
    """What some browsers make of the download."""
    path = place / "ILSVRC2012_devkit_t12.tar"
    path.write_bytes(tar_of(devkit(labels, compressed=False)))
    return path


def as_devkit_folder(place: Path, labels: dict[str, str]) -> Path:
    return write_tree(place, devkit(labels)) / "ILSVRC2012_devkit_t12"


def as_valprep(place: Path, labels: dict[str, str]) -> Path:
    """The script's own form, with the CRLF that a checkout on Windows gives it."""
    lines = [f"mkdir -p {wnid}\t\r\n" for wnid in wnids()]
    path = place / "valprep.sh"
    path.write_bytes("".join([*lines, *(f"mv {name} {wnid}/\t\r\n" for name, wnid in labels.items())]).encode())
    return path


def as_kaggle_list(place: Path, labels: dict[str, str]) -> Path:
    path = place / "LOC_val_solution.csv"
    rows = (f"{name[:-5]},{wnid} 1 2 3 4 {wnid} 5 6 7 8 \n" for name, wnid in reversed(labels.items()))
    path.write_text("ImageId,PredictionString\n" + "".join(rows))
    return path


@pytest.mark.parametrize("write", [as_devkit, as_unzipped_devkit, as_devkit_folder, as_valprep, as_kaggle_list])
def test_other_label_lists_must_agree(
    archives: Path, tmp_path: Path, write: Callable[[Path, dict[str, str]], Path]
) -> None:
    """Devkit, valprep.sh and Kaggle's list: the same labels pass, one other label stops everything."""
    labels = validation_labels()
    (tmp_path / "right").mkdir()
    (tmp_path / "wrong").mkdir()
    right = write(tmp_path / "right", labels)
    told: list[str] = []
    prepare_imagenet([archives / VAL, right], tmp_path / "out", notice=told.append)
    assert any(str(right) in line and "50000 validation images" in line for line in told)

    name = "ILSVRC2012_val_00012345.JPEG"
    other = next(wnid for wnid in wnids() if wnid != labels[name])
    wrong = write(tmp_path / "wrong", labels | {name: other})
    with pytest.raises(SourceError, match=f"says {name} is {other}, the official list says {labels[name]}"):
        prepare_imagenet([archives / VAL, wrong], tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_the_devkit_id_is_not_the_sorted_index(archives: Path, tmp_path: Path) -> None:
    """Reading one as the other gives 0.1 % top-1 to many people; here it is found."""
    path = tmp_path / "devkit.tar"
    path.write_bytes(tar_of(devkit(validation_labels(), sorted_ids=True)))

    with pytest.raises(SourceError, match="the official list says"):
        prepare_imagenet([archives / VAL, path], tmp_path / "out")


@pytest.mark.parametrize("change", ["cut", "flip", "empty", "no truth", "bad id"])
def test_a_damaged_devkit_is_refused(archives: Path, tmp_path: Path, change: str) -> None:
    """A meta.mat that is cut, changed or empty, a missing list, an id that does not exist."""
    members = devkit(dict(list(validation_labels().items())[:100]), compressed=change != "flip")
    meta, truth = list(members)[1:]
    data = members[meta]
    if change == "cut":
        members[meta] = data[: len(data) // 2]
    elif change == "flip":
        members[meta] = data[:140] + b"\xff" * 8 + data[148:]
    elif change == "empty":
        members[meta] = b""
    elif change == "no truth":
        del members[truth]
    else:
        members[truth] = b"1\n2\n1861\n"
    path = tmp_path / "devkit.tar"
    path.write_bytes(tar_of(members))

    with pytest.raises(SourceError, match="devkit"):
        prepare_imagenet([archives / VAL, path], tmp_path / "out")


def test_names_in_any_language(archives: Path, tmp_path: Path) -> None:
    """--names-file goes before the English names, also later on a finished root; other encodings are told."""
    names = tmp_path / "names.txt"
    wnid = wnids()[0]
    names.write_bytes(f"\ufeff{wnid}\t丁鱥\r\n\r\n".encode())

    manifest = prepare_imagenet([archives / VAL], tmp_path / "out")
    assert manifest.classes[0].name == "tench"
    again = prepare_imagenet([archives / VAL], tmp_path / "out", names_file=names)
    assert again.classes[0].name == "丁鱥" and again.classes[1:] == manifest.classes[1:]
    assert read_manifest(tmp_path / "out") == again
    for data, says in (
        (f"{wnid}\t丁鱥\n".encode("gb18030"), "is not UTF-8"),
        (b"tench\n", "line 1 of"),
        (b"", "names no"),
    ):
        names.write_bytes(data)
        with pytest.raises(SourceError, match=says):
            prepare_imagenet([archives / VAL], tmp_path / "other", names_file=names)


@cache
def three_structs() -> bytes:
    """A small meta.mat, not compressed, so that changes hit its structure."""
    from scipy.io import savemat

    out = io.BytesIO()
    rows = np.array([(float(i), wnid, 0.0) for i, wnid in enumerate(wnids()[:3], 1)], dtype=THREE)
    savemat(out, {"synsets": rows.reshape(-1, 1)})
    return out.getvalue()


@settings(max_examples=150)
@given(data=st.data())
def test_a_changed_meta_mat_is_read_or_refused(data: st.DataObject) -> None:
    """Whatever stands in it: the structs, or a SourceError; never another exception."""
    meta = bytearray(three_structs())
    assert [row["WNID"] for row in read_structs(bytes(meta), "it")] == list(wnids()[:3])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(126, len(meta) - 1))
        new = data.draw(st.binary(min_size=1, max_size=8) | st.just(b"\xff\xff\xff\x7f"))
        meta[place : place + len(new)] = new

    with contextlib.suppress(SourceError):
        read_structs(bytes(meta), "it")


def test_labels_inside_the_sources_must_agree(tmp_path: Path, jpeg: bytes) -> None:
    """Kaggle's list inside its zip, and the class in Hugging Face's file and parquet rows."""
    name = "ILSVRC2012_val_00000001"  # n01751748
    archive = tmp_path / "kaggle.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(f"ILSVRC/Data/CLS-LOC/val/{name}.JPEG", jpeg)
        file.writestr("LOC_val_solution.csv", f"ImageId,PredictionString\n{name},n01440764 1 2 3 4\n")
    with pytest.raises(SourceError, match=r"LOC_val_solution\.csv in .* says .* is n01440764"):
        prepare_imagenet([archive], tmp_path / "out")
    for wrong in (f"{name}_n01440764.JPEG", "n01440764_1_n01751748.JPEG"):
        (tmp_path / "hf.tar").write_bytes(tar_of({wrong: jpeg}))
        with pytest.raises(SourceError, match="its labels are wrong"):
            prepare_imagenet([tmp_path / "hf.tar"], tmp_path / "out")


@pytest.mark.parametrize("change", ["label", "no path", "columns", "cut", "text"])
def test_a_wrong_or_damaged_parquet_file_is_refused(tmp_path: Path, jpeg: bytes, change: str) -> None:
    """A label that is not the name's, rows without names, other columns, a cut, no parquet at all."""
    pa = pytest.importorskip("pyarrow", reason="parquet files need pyarrow (extra parquet)")
    import pyarrow.parquet as pq

    path = tmp_path / "validation-00000-of-00001.parquet"
    name = None if change == "no path" else "ILSVRC2012_val_00000001_n01751748.JPEG"
    label = 64 if change == "label" else 65
    columns = {"image": [{"bytes": jpeg, "path": name}], "class" if change == "columns" else "label": [label]}
    pq.write_table(pa.table(columns), path)
    if change == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif change == "text":
        path.write_bytes(b"PAR1 is how it begins, and no more")

    with pytest.raises(SourceError, match=r"\.parquet"):
        prepare_imagenet([path], tmp_path / "out")
    assert not (tmp_path / "out/manifest.json").exists()

"""Parquet files of a subset: its own numbers of labels are taken if their names agree."""

import json
from pathlib import Path

import pytest

from feedline.prep import SourceError, class_names, prepare_imagenet

from ..trees import Files, hugging_face, only, tree


def write(path: Path, files: Files, label_names: list[str] | None, *, shift: int = 0, names: bool = True) -> Path:
    pa = pytest.importorskip("pyarrow", reason="parquet files need pyarrow (extra parquet)")
    import pyarrow.parquet as pq

    rows = list(hugging_face(files).items())
    wnids = sorted({name[-14:-5] for name, _ in rows})
    table = pa.table(
        {
            "image": [{"bytes": data, "path": name if names else None} for name, data in rows],
            "label": [wnids.index(name[-14:-5]) + shift for name, _ in rows],
        }
    )
    info = {"info": {"features": {"label": {"names": label_names, "_type": "ClassLabel"}}}}
    metadata = {} if label_names is None else {"huggingface": json.dumps(info)}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


@pytest.mark.parametrize("kind", ["wnids", "English"])
def test_a_subset_with_its_own_numbers_is_read(files: Files, tmp_path: Path, kind: str) -> None:
    """ImageNet-100's label 1 is not ImageNet's; the file lists what it is."""
    train = {path: data for path, data in only(files, "train/").items() if "n01440764" not in path}
    wnids = sorted({path.split("/")[1] for path in train})
    names = wnids if kind == "wnids" else [f"{class_names()[wnid]}, {wnid}" for wnid in wnids]

    prepare_imagenet([write(tmp_path / "train.parquet", train, names)], tmp_path / "out")

    assert tree(tmp_path / "out") == train


def test_numbers_that_nothing_explains_are_refused(files: Files, tmp_path: Path) -> None:
    """No names of labels, names that do not agree, no file names: each with its reason."""
    train = {path: data for path, data in only(files, "train/").items() if "n01440764" not in path}
    wnids = sorted({path.split("/")[1] for path in train})
    for names, shift in ((None, 0), (wnids, 1), (list(reversed(wnids)), 0), (["x"], 0)):
        with pytest.raises(SourceError, match="has no name of label"):
            prepare_imagenet([write(tmp_path / "a.parquet", train, names, shift=shift)], tmp_path / "out")
    with pytest.raises(SourceError, match=r"without file name or bytes.*feedline prep parquet"):
        prepare_imagenet([write(tmp_path / "a.parquet", train, wnids, names=False)], tmp_path / "out")

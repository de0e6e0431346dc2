"""A user's own images with a list of labels, and a parquet file: from the command line to a trained model."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feedline.cli.main import run
from feedline.prep import list_samples, read_manifest
from feedline.prep.roots.lists import list_path, read_list

CLASSES = ("Katze", "собака", "鳥 (bird)")
IMAGES = 30


def encoded(number: int) -> tuple[bytes, str]:
    """Return a small image of a class, in one of two formats, and its extension."""
    pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), np.uint8) // 2
    pixels[..., number % 3] += 100
    kind, suffix = (("JPEG", ".jpg"), ("PNG", ".png"))[number % 2]
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, kind)
    return data.getvalue(), suffix


def a_list(place: Path) -> list[str]:
    """Write images in folders that are no classes, and a CSV as a spreadsheet writes it; return the command's words."""
    rows = ["Datei;Art;Alter;Notiz"]
    for number in range(IMAGES):
        data, suffix = encoded(number)
        name = f"{2020 + number % 4}/Foto {number // 4}{suffix}"
        (place / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "photos" / name).write_bytes(data)
        rows.append(f'{name};{CLASSES[number % 3]};{number};"größer; ""als"" {number}"')
    (place / "photos" / "liste.csv").write_text("\r\n".join(rows), encoding="utf-16")
    columns = ["--file-column", "Datei", "--label-column", "Art"]
    return ["imagefolder", str(place / "photos"), "--labels", str(place / "photos" / "liste.csv"), *columns]


def a_parquet_file(place: Path) -> list[str]:
    """Write a parquet file as the datasets library does; return the command's words."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    images = [{"bytes": encoded(number)[0], "path": None} for number in range(IMAGES)]
    table = pa.table(
        {
            "image": images,
            "label": [number % 3 for number in range(IMAGES)],
            "Alter": list(range(IMAGES)),
            "Notiz": [f'größer; "als" {number}' for number in range(IMAGES)],
        }
    )
    feature = {"names": sorted(CLASSES), "_type": "ClassLabel"}
    about = {"info": {"features": {"image": {"_type": "Image"}, "label": feature}}}
    place.mkdir(exist_ok=True)
    pq.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(about)}),
        place / "train-00000-of-00001.parquet",
        row_group_size=7,
    )
    return ["parquet", str(place)]


SOURCES = [a_list, a_parquet_file]


@pytest.mark.parametrize("make", SOURCES)
def test_images_become_a_root_by_one_command(
    make: Callable[[Path], list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Classes, splits and further values are right; the same command again changes nothing."""
    data = tmp_path / "data"
    words = ["prep", *make(tmp_path / "source"), "--out", str(data), "--val-fraction", "0.2", "--json"]
    assert run(words) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["splits"] == {
        "train": {"classes": 3, "images": 24},
        "val": {"classes": 3, "images": 6},
    }
    manifest = read_manifest(data)
    assert [entry.id for entry in manifest.classes] == sorted(CLASSES)
    for split in ("train", "val"):
        lines = list(read_list(list_path(data, split)))
        assert [line.file_name.rpartition("/")[2] for line in lines] == [
            sample.name.rpartition("/")[2] for sample in list_samples(data, manifest, split)
        ]
        for line in lines:
            number = line.columns["Alter"]
            assert line.label == (sorted(CLASSES) if make is a_parquet_file else CLASSES)[number % 3]
            assert line.columns["Notiz"] == f'größer; "als" {number}'
            assert (data / line.file_name).read_bytes() == encoded(number)[0]
    before = (data / "manifest.json").read_bytes()
    assert run(words) == 0
    assert (data / "manifest.json").read_bytes() == before
    assert run(["verify", str(data), "--decode"]) == 0


def test_a_list_may_lie_with_images_that_stay_where_they_are(tmp_path: Path) -> None:
    """Nothing is copied; the user's list is not touched."""
    words = a_list(tmp_path)
    photos = tmp_path / "photos"
    before = {path: path.read_bytes() for path in photos.rglob("*.*")}
    assert run(["prep", *words, "--out", str(photos), "--val-fraction", "0.2"]) == 0
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in set(photos.rglob("*.*")) - set(before)} == {
        "manifest.json",
        "train.jsonl",
        "val.jsonl",
    }
    manifest = read_manifest(photos)
    assert manifest.splits["train"].listed and manifest.splits["train"].columns == ("Alter", "Notiz")
    assert len(list_samples(photos, manifest, "val")) == 6
    assert run(["verify", str(photos)]) == 0
    assert run(["prep", *words, "--out", str(photos), "--val-fraction", "0.2"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--labels", "nowhere.csv"], "cannot read nowhere.csv: .*--labels"),
        (["--labels", "l.csv", "--class-depth", "2"], "--labels says the classes"),
        (["--labels", "l.csv", "--delimiter", "::"], "'::' is no delimiter"),
        (["--labels", "l.csv", "--label-column", "x"], "has no column 'x'; it has: file, label"),
        (["--labels", "l.csv"], "line 3, names 'b.jpg'.*--skip-missing"),
    ],
)
def test_bad_lists_are_one_sentence(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, no traceback, nothing that looks finished."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Path("photos/a.jpg").write_bytes(encoded(0)[0])
    Path("l.csv").write_text("file,label\na.jpg,cat\nb.jpg,dog\n", encoding="utf-8")
    assert run(["prep", "imagefolder", "photos", "--out", "data", *words]) == 1
    said = capsys.readouterr().err
    import re

    assert re.search(message, " ".join(said.split())), said
    assert "Traceback" not in said and not Path("data/manifest.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("make", SOURCES)
def test_images_are_sharded_measured_and_trained(make: Callable[[Path], list[str]], tmp_path: Path) -> None:
    """Every step after preparing takes them."""
    data, run_ = str(tmp_path / "data"), str(tmp_path / "run")
    small = ["--batch-size", "6", "--image-size", "32", "--workers", "1"]
    tiny = ["--seconds", "0.2", "--repeats", "1"]
    for words in (
        ["prep", *make(tmp_path / "source"), "--out", data, "--val-fraction", "0.2"],
        ["shard", data],
        ["bench", data, "--out", str(tmp_path / "b"), "--loader", "threaded", *small, *tiny],
        ["diagnose", data, "--step-ms", "50", "--loader", "threaded", *small, *tiny],
        ["train", data, "--epochs", "1", "--out", run_, *small],
    ):
        assert run(words) == 0, words
    best = json.loads((tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()[-1])
    assert best

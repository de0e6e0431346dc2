"""Names in documents of other people: none leads out of its folder, in any document, through any command."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from feedline.cli.main import run
from feedline.prep import (
    DatasetError,
    index_shards,
    list_samples,
    read_document,
    read_manifest,
    read_shard_manifest,
    verify,
    write_shards,
)
from feedline.prep.base.names import is_plain_name, is_plain_path, require_name
from feedline.prep.folders.pieces import UnitNote
from feedline.prep.shards.writing.shard import Written

HOSTILE = [
    "/any/path/app",
    "../app",
    "..",
    ".",
    "",
    "a/../../b",
    "C:app",
    "C:\\app",
    "\\\\server\\share",
    "name:stream",
    "nul",
    "COM1.tar",
    "a\0b",
    "a\nb",
    "trailing.",
    "trailing ",
    "a*",
    "x" * 256,
    "é" * 128,
    "\ud800",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_no_plain_name(name: str) -> None:
    """Nor a path, and the function that requires one says where it was found."""
    assert not is_plain_name(name) and not is_plain_path(name) and not is_plain_path(f"train/{name}")
    with pytest.raises(DatasetError, match=r"^the document holds the name .* is not used in a path"):
        require_name(name, "the document")


@pytest.mark.parametrize("name", ["imagenet", "n01440764", "a b", "straße", "x.y.tar", "-", "x" * 255, ".hidden"])
def test_a_plain_name_is_accepted(name: str) -> None:
    """Spaces, dots and accents are no danger."""
    assert is_plain_name(name) and is_plain_path(name) and is_plain_path(f"train/{name}")
    assert require_name(name, "the document") == name
    assert not is_plain_path("/".join([name] * 9))


@given(st.text(max_size=30), st.text(max_size=30))
def test_what_is_plain_stays_in_its_folder(name: str, other: str) -> None:
    """On this system, for any text."""
    folder = Path("/folder/of/the/document").absolute()
    for path in (name, f"{name}/{other}"):
        if is_plain_path(path):
            assert folder in Path(folder / path).resolve().parents


def in_data_set(value: dict[str, Any], name: str) -> None:
    value["dataset"] = name


def in_split(value: dict[str, Any], name: str) -> None:
    value["splits"][name] = value["splits"].pop("train")


def in_class(value: dict[str, Any], name: str) -> None:
    value["classes"][0]["id"] = name


def in_class_folder(value: dict[str, Any], name: str) -> None:
    value["classes"][0]["folder"] = name


def in_split_folder(value: dict[str, Any], name: str) -> None:
    value["splits"]["train"]["folder"] = name


def in_shard(value: dict[str, Any], name: str) -> None:
    value["splits"]["train"]["shards"][0]["name"] = name


Change = Callable[[dict[str, Any], str], None]


@pytest.mark.parametrize("name", ["/any/path/app", "../app", "C:\\app", "nul"])
@pytest.mark.parametrize("change", [in_data_set, in_split, in_shard])
def test_a_hostile_manifest_of_shards_is_refused(
    change: Change, name: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By --index-only, verify and whatever reads it; no file appears or changes."""
    out = Path(shutil.copytree(root / "shards", tmp_path / "inner" / "shards"))
    path = out / "manifest.json"
    value = json.loads(path.read_text())
    change(value, name.replace("/any/path", str(tmp_path)))
    path.write_text(json.dumps(value))
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    for call in (index_shards, read_shard_manifest, verify):
        with pytest.raises(DatasetError, match=r"is not a ShardManifest document: .* is not used"):
            call(out)
    assert run(["shard", "--index-only", str(out)]) == 1
    assert "check the path or restore the file" in " ".join(capsys.readouterr().err.split())
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("change", [in_data_set, in_split])
def test_a_hostile_manifest_of_a_root_is_refused(change: Change, folders: Path) -> None:
    """Before a folder outside is listed, verified or sharded."""
    manifest = read_manifest(folders)
    path = folders / "manifest.json"
    value = json.loads(path.read_text())
    change(value, "../../outside")
    path.write_text(json.dumps(value))

    for call in (read_manifest, verify, write_shards):
        with pytest.raises(DatasetError, match=r"is not a Manifest document: .* is not used in a path"):
            call(folders)
    assert list_samples(folders, manifest, "train")


@pytest.mark.parametrize("name", ["/any/path/app", "../app", "train/../../app"])
@pytest.mark.parametrize("change", [in_class, in_class_folder, in_split_folder])
def test_a_class_folder_outside_the_root_is_refused(change: Change, name: str, folders: Path) -> None:
    """A class id is text, and no path before a folder is opened; a folder is a path below the root."""
    path = folders / "manifest.json"
    value = json.loads(path.read_text())
    change(value, name)
    path.write_text(json.dumps(value))

    for call in (verify, write_shards, lambda root: list_samples(root, read_manifest(root), "train")):
        with pytest.raises(DatasetError, match=r"no folder name|which is no path below a folder"):
            call(folders)


def test_a_manifest_of_version_0_1_is_read(folders: Path) -> None:
    """It has ``wnid`` where this version has ``id``."""
    manifest = read_manifest(folders)
    path = folders / "manifest.json"
    value = json.loads(path.read_text())
    for entry in value["classes"]:
        entry["wnid"] = entry.pop("id")
        del entry["folder"]
    for split in value["splits"].values():
        del split["folder"], split["listed"], split["columns"]
    path.write_text(json.dumps(value))

    assert read_manifest(folders) == manifest


def test_hostile_notes_of_an_unfinished_run_are_refused(tmp_path: Path) -> None:
    """Those of shards and of class folders."""
    path = tmp_path / "note.json"
    shard = {"name": "../x.tar", "samples": 1, "bytes": 1, "sha256": ""}
    path.write_text(json.dumps({"shard": shard, "passed_through": {}}))
    with pytest.raises(DatasetError, match="is not a Written document"):
        read_document(path, Written)
    path.write_text(json.dumps({"counts": {"val/../../x": [1, 1]}}))
    with pytest.raises(DatasetError, match="is not a UnitNote document"):
        read_document(path, UnitNote)
    path.write_text(json.dumps({"counts": {"val/n01440764": [1, 1]}}))
    assert read_document(path, UnitNote).counts == {"val/n01440764": (1, 1)}

"""``feedline verify`` accepts what prep wrote, and reports every kind of damage with its place."""

import io
import json
import shutil
import struct
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feedline.cli.main import run
from feedline.prep import (
    DatasetError,
    SyntheticSpec,
    list_samples,
    prepare_imagenet,
    read_manifest,
    read_shard_manifest,
    verify,
    write_document,
    write_shards,
    write_synthetic,
)
from feedline.prep.images.check import KNOWN_ODD, ODD_CMYK, ODD_PNG
from feedline.prep.synthetic.photographs import VARY_DRAWS, encode, vary


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prepared root with its shards; train includes odd files."""
    out = tmp_path_factory.mktemp("whole")
    spec = SyntheticSpec(layout="ilsvrc2012", classes=2, images_per_class=6, scale=0.2, odd_files=True)
    write_synthetic(out / "archives", spec)
    prepare_imagenet([out / "archives"], out / "data")
    write_shards(out / "data")
    return out / "data"


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "data")


def image(root: Path) -> Path:
    """Return a training image that is an ordinary JPEG."""
    files = sorted((root / "train").rglob("*.JPEG"))
    return next(path for path in files if path.read_bytes()[:3] == b"\xff\xd8\xff")


def with_thumbnail(data: bytes) -> bytes:
    """Return the JPEG with a small JPEG in its EXIF segment, which puts an end marker near the start."""
    small = io.BytesIO()
    Image.new("RGB", (8, 8)).save(small, "JPEG")
    exif = b"Exif\0\0" + small.getvalue()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def lose(path: Path) -> str:
    path.unlink()
    return f"{path.parent} has 5 images, the manifest says 6"


def add(path: Path) -> str:
    shutil.copy(path, path.with_name("more.JPEG"))
    return f"{path.parent} has 7 images, the manifest says 6"


def cut(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:-400])
    return f"{path} is a JPEG cut short"


def cut_behind_a_thumbnail(path: Path) -> str:
    """The thumbnail's end marker lies in the last 64 kB of a small file, where a plain search would find it."""
    data = with_thumbnail(path.read_bytes())
    path.write_bytes(data[: len(data) * 2 // 3])
    return f"{path} is a JPEG cut short"


def zeros(path: Path) -> str:
    path.write_bytes(bytes(path.stat().st_size))
    return f"{path} is no image of a format that feedline opens: it begins with 0000000000000000"


def empty(path: Path) -> str:
    path.write_bytes(b"")
    return f"{path} is no image of a format that feedline opens"


def rewritten(path: Path) -> str:
    Image.open(path).convert("RGB").save(path, "JPEG", quality=20)
    return "images of train have"


def headers(path: Path) -> str:
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe0\xff\xff" + data[6:])
    return f"{path} is a JPEG whose headers are damaged"


def class_gone(path: Path) -> str:
    shutil.rmtree(path.parent)
    return f"{path.parent} has 0 images, the manifest says 6"


def stranger(path: Path) -> str:
    (path.parent.parent / "n99999999").mkdir()
    shutil.copy(path, path.parent.parent / "n99999999")
    return f"{path.parent.parent / 'n99999999'} is not a class of the manifest"


DAMAGE = [lose, add, cut, cut_behind_a_thumbnail, zeros, empty, rewritten, headers, class_gone, stranger]


def test_what_prep_wrote_is_whole(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Roots and shards are decoded in full. Odd files are notes, not problems. --json prints everything on stdout."""
    for path in (whole, whole / "shards"):
        assert run(["verify", str(path), "--decode", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["ok"] and not found["problems"]
        assert found["splits"]["train"] == found["splits"]["val"] == {"classes": 2, "images": 12}
        assert {line.split(" is ")[1].split(";")[0] for line in found["odd"]} == {"a PNG", "a CMYK JPEG"}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_in_a_root_is_found(root: Path, damage: Callable[[Path], str]) -> None:
    """Each kind of damage is a problem that names the file or folder."""
    says = damage(image(root))

    found = verify(root)

    assert not found.ok and any(says in problem for problem in found.problems), found.problems


def test_damage_inside_an_image_needs_decode(root: Path) -> None:
    """The markers at both ends do not cover the data between them, but --decode does."""
    path = image(root)
    data = path.read_bytes()
    path.write_bytes(data[:180] + bytes(len(data) - 182) + data[-2:])

    problems = verify(root, decode=True).problems
    assert any(str(path) in problem for problem in problems)


def test_damage_in_a_shard_names_shard_member_and_offset(root: Path) -> None:
    """An overwritten image, a damaged header, a cut and a lost shard are found. The others are still checked."""
    shards = root / "shards"
    names = [shard.name for shard in read_shard_manifest(shards).splits["train"].shards]
    with tarfile.open(shards / names[0]) as tar:
        member = tar.getmembers()[0]
    data = bytearray((shards / names[0]).read_bytes())
    data[member.offset_data : member.offset_data + 40] = bytes(40)
    (shards / names[0]).write_bytes(data)
    data = bytearray((shards / names[1]).read_bytes())
    data[3] ^= 1
    (shards / names[1]).write_bytes(data)
    (shards / names[2]).write_bytes((shards / names[2]).read_bytes()[:-9000])
    (shards / names[3]).unlink()

    problems = verify(shards).problems

    place = f"{member.name} at offset {member.offset_data} of {shards / names[0]}"
    assert any(problem.startswith(f"{place} is no image of a format that feedline opens") for problem in problems)
    assert f"{shards / names[0]} has another sha256 than the manifest" in problems
    assert any(f"{shards / names[1]} has no tar header at offset 0" in problem for problem in problems)
    assert any(f"{shards / names[2]} is truncated" in problem for problem in problems)
    assert any(f"{shards / names[3]} is missing" in problem for problem in problems)
    assert not any(names[4] in problem for problem in problems)


def test_the_23_odd_files_are_known_by_name(tmp_path: Path) -> None:
    """The PNG and the 22 CMYK JPEGs of official ImageNet are noted as such, and so is one that was re-encoded."""
    draws = np.full(VARY_DRAWS, 0.5)
    rewritten = "n13037406_4650.JPEG"
    kinds = {ODD_PNG: "png", **dict.fromkeys(ODD_CMYK, "cmyk"), rewritten: "jpeg", "n01440764_1.JPEG": "cmyk"}
    for name, kind in kinds.items():
        path = tmp_path / "train" / name[:9] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(vary(0, (32, 24), 2.0, draws), kind, 90))  # pyright: ignore[reportArgumentType]

    prepare_imagenet([tmp_path], tmp_path)
    found = verify(tmp_path, decode=True)

    assert len(KNOWN_ODD) == 23 and found.ok
    notes = {Path(line.split(" is ")[0]).name: line.split(" is ", 1)[1] for line in found.odd}
    assert notes.pop(ODD_PNG) == "a PNG, as in official ImageNet"
    assert notes.pop(rewritten) == "an ordinary JPEG, though the official one is not: it was written anew"
    assert notes.pop("n01440764_1.JPEG").startswith("a CMYK JPEG; official ImageNet has no such file")
    assert set(notes) == ODD_CMYK - {rewritten}
    assert set(notes.values()) == {"a CMYK JPEG, as in official ImageNet"}


def test_the_exit_code_is_0_for_whole_and_1_for_damaged_data(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Damaged or unfinished data exits with 1. The output has the first 20 problems and how to see all."""
    for path in (root / "train").rglob("*.JPEG"):
        path.write_bytes(b"x")
    for path in (root / "val").rglob("*.JPEG"):
        path.write_bytes(b"x")

    assert run(["verify", str(root)]) == 1
    err = capsys.readouterr().err
    assert err.count("problem: ") == 20 and "more problems; list all with --json" in err and "is damaged" in err
    assert run(["verify", str(tmp_path / "nowhere")]) == 1
    assert "does not exist; make it with: feedline prep imagefolder" in capsys.readouterr().err
    (root / "manifest.json").write_text('{"format": "feedline-dataset"')
    with pytest.raises(DatasetError, match="is not a Manifest document"):
        verify(root)


STRANGERS = (
    "train/{wnid}/.DS_Store",
    "train/{wnid}/Thumbs.db",
    "train/{wnid}/README",
    "train/{wnid}/._n01440764_18.JPEG",
    "train/{wnid}/.hidden.jpg",
    "train/{wnid}/scan.eps",
    "train/{wnid}/notes.xml",
    "train/{wnid}/.ipynb_checkpoints/n01440764_18-checkpoint.JPEG",
    "train/{wnid}/@eaDir/n01440764_18.JPEG@SynoEAStream",
    "train/{wnid}/thumbnails/n01440764_18.JPEG",
    "train/.DS_Store",
    "train/@eaDir/x.jpg",
    "train/__MACOSX/x.jpg",
    "val/desktop.ini",
)


@pytest.mark.parametrize("name", [*STRANGERS, "train/n99999999/", "val/n99999999/"])
def test_a_file_that_is_no_sample_is_a_note(name: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It stays, it is named once, the root is whole, and shard reads the root as before."""
    wnid = image(root).parent.name
    path = root / name.format(wnid=wnid)
    if name.endswith("/"):
        path.mkdir()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"stranger")
    before = {split: list_samples(root, read_manifest(root), split) for split in ("train", "val")}

    assert run(["verify", str(root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (line,) = found["strangers"]
    noted = Path(line.partition(" is no image of the data set, and every loader ignores it")[0])
    assert noted == path or noted in path.parents
    assert {split: len(samples) for split, samples in before.items()} == {"train": 12, "val": 12}
    assert path.exists() and write_shards(root) == read_shard_manifest(root / "shards")


def test_a_class_that_only_val_has_and_an_empty_class_are_whole(root: Path) -> None:
    """Prep lists the classes of all splits, so a class may have no images in one of them, with or without a folder."""
    manifest = read_manifest(root)
    wnid = manifest.classes[0].id
    shutil.rmtree(root / "train" / wnid)
    train = manifest.splits["train"]
    size = sum(path.stat().st_size for path in (root / "train").rglob("*.JPEG"))
    counts = {"images": train.images - train.per_class[0], "per_class": (0, *train.per_class[1:]), "bytes": size}
    write_document(
        root / "manifest.json", replace(manifest, splits={**manifest.splits, "train": replace(train, **counts)})
    )
    shutil.rmtree(root / "shards")

    assert verify(root, decode=True).ok
    (root / "train" / wnid).mkdir()
    assert verify(root, decode=True).ok
    shards = write_shards(root)
    assert shards.splits["train"].per_class == (0, 6) and shards.splits["val"].per_class == (6, 6)
    assert verify(root).ok and verify(root / "shards").ok

"""Every layout in which people have ImageNet becomes the same class folders, by content and not by file name."""

import zipfile
from pathlib import Path

import pytest

from feedline.prep import (
    SourceError,
    prepare_imagenet,
    prepare_tiny_imagenet,
    read_manifest,
    verify,
    wnids,
)

from ..layouts import LAYOUTS
from ..trees import only, tree, write_tar, write_tree


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_tree(layout: str, archives: Path, root: Path, tmp_path: Path) -> None:
    """Same files, same bytes, same classes and counts; what was recognised is said; the sources stay as they were."""
    place = tmp_path / "in"
    place.mkdir()
    sources = LAYOUTS[layout](place, archives, tree(root))
    before = tree(place)
    told: list[str] = []

    manifest = prepare_imagenet(sources, tmp_path / "out", workers=2, notice=told.append)

    expected = read_manifest(root)
    assert tree(tmp_path / "out") == tree(root)
    assert (manifest.classes, manifest.splits) == (expected.classes, expected.splits)
    assert verify(tmp_path / "out").ok
    assert tree(place) == before
    assert any(str(sources[0]) in line for line in told)
    assert prepare_imagenet(sources, tmp_path / "out") == manifest  # and nothing is done twice


def test_imagenette_keeps_its_own_splits(root: Path, tmp_path: Path) -> None:
    """Its train holds ILSVRC2012_val names and its val training names: the folder decides, not the name."""
    files = tree(root)
    swapped = {f"imagenette2-160/train/{path.split('/', 1)[1]}": data for path, data in only(files, "val/").items()}
    swapped |= {f"imagenette2-160/val/{path.split('/', 1)[1]}": data for path, data in only(files, "train/").items()}
    archive = write_tar(tmp_path / "x.tgz", {**swapped, "imagenette2-160/noisy_imagenette.csv": b"path\n"}, "w:gz")

    manifest = prepare_imagenet([archive], tmp_path / "out")

    assert manifest.dataset == "imagenette" and set(manifest.splits) == {"train", "val"}
    assert {path.split("/", 1)[1] for path in only(tree(tmp_path / "out"), "train/")} == {
        path.split("/", 1)[1] for path in only(files, "val/")
    }


@pytest.mark.parametrize("mode", ["w", "w:gz", "folder"])
def test_imagenet_v2_labels_are_numbers(root: Path, tmp_path: Path, mode: str) -> None:
    """Folder 10 is class 10, although it sorts before 2; the .tar.gz is a plain tar in spite of its name."""
    data = next(iter(tree(root).values()))
    top = "imagenetv2-matched-frequency-format-val"
    files = {f"{top}/{index}/{index:040x}.jpeg": data for index in (0, 2, 10, 999)}
    source = (
        write_tree(tmp_path / "in", files)
        if mode == "folder"
        else write_tar(tmp_path / "imagenetv2-matched-frequency.tar.gz", files, mode)
    )

    manifest = prepare_imagenet([source], tmp_path / "out")

    assert manifest.dataset == "imagenet-v2"
    assert sorted(tree(tmp_path / "out")) == [f"val/{wnids()[i]}/{i:040x}.jpeg" for i in (0, 2, 10, 999)]


@pytest.mark.parametrize("layout", ["zip", "tree", "sorted tree"])
def test_tiny_imagenet_in_every_form(tiny: Path, tmp_path: Path, layout: str) -> None:
    """Zip, unpacked, and with val sorted by a script: class folders by annotation, boxes and lists kept."""
    with zipfile.ZipFile(tiny) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    rows = (line.split("\t") for line in files["tiny-imagenet-200/val/val_annotations.txt"].decode().splitlines())
    labels = {row[0]: row[1] for row in rows}
    source = tiny
    if layout != "zip":
        if layout == "sorted tree":
            for name in [name for name in files if "/val/images/" in name]:
                base = name.rpartition("/")[2]
                files[f"tiny-imagenet-200/val/{labels[base]}/{base}"] = files.pop(name)
        source = write_tree(tmp_path / "in", files) / "tiny-imagenet-200"

    manifest = prepare_tiny_imagenet(source, tmp_path / "out", workers=2)

    found = tree(tmp_path / "out")
    assert {path: data for path, data in found.items() if path.startswith("val/")} == {
        f"val/{labels[name.rpartition('/')[2]]}/{name.rpartition('/')[2]}": data
        for name, data in files.items()
        if "/val_" in name and name.endswith(".JPEG")
    }
    assert manifest.dataset == "tiny-imagenet" and manifest.splits["train"].per_class == (4, 4, 4)
    assert {entry.id for entry in manifest.classes} == set(labels.values()) and manifest.classes[0].name == "tench"
    assert {path for path in found if path.startswith("annotations/")} >= {
        "annotations/val_annotations.txt",
        "annotations/wnids.txt",
        "annotations/n01440764_boxes.txt",
    }
    assert verify(tmp_path / "out", decode=True).ok


def test_a_tiny_tree_that_lost_something_is_refused(tiny: Path, tmp_path: Path) -> None:
    """The data set's own lists say what has to be there, and which class a sorted image has."""
    with zipfile.ZipFile(tiny) as archive:
        archive.extractall(tmp_path)
    place = tmp_path / "tiny-imagenet-200"
    lost = sorted((place / "val/images").iterdir())[0]
    data = lost.read_bytes()
    lost.unlink()
    with pytest.raises(SourceError, match=f"lacks {lost.name}"):
        prepare_tiny_imagenet(place, tmp_path / "out")
    wrong = place / "val/n99999999" / lost.name
    wrong.parent.mkdir()
    wrong.write_bytes(data)
    with pytest.raises(SourceError, match=r"not to the class of val_annotations\.txt"):
        prepare_tiny_imagenet(place, tmp_path / "out")
    with pytest.raises(SourceError, match="feedline prep tiny-imagenet"):
        prepare_imagenet([place], tmp_path / "out")

"""Shards from every source that prep takes: the bytes that the prepared root gives, and the same refusals."""

import gzip
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import (
    DatasetError,
    FeedlineError,
    SourceError,
    SyntheticSpec,
    find_samples,
    prepare_imagenet,
    prepare_tiny_imagenet,
    read_shard_manifest,
    validation_labels,
    verify,
    wnids,
    write_shards,
    write_synthetic,
)
from feedline.prep.labels.completeness import OFFICIAL
from feedline.prep.roots.samples import SampleReader

from ...layouts import LAYOUTS, write_zip
from ...trees import TEST, TRAIN, VAL, Files, only, tree, write_tar, write_tree
from .shared import SPEC, STREAMED, build, digests


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_shards_of_its_prepared_root(
    layout: str, archives: Path, root: Path, files: Files, tmp_path: Path
) -> None:
    """Tars, indexes and manifest are the same bytes; the source stays as it is; what was recognised is reported."""
    source = build(layout, tmp_path / "in", archives, files)
    before, told = tree(tmp_path / "in"), list[str]()

    write_shards(source, SPEC, out=tmp_path / "s", workers=2, notice=told.append)

    if layout == "renamed_tars":
        prepare_imagenet([source], tmp_path / "data")
        write_shards(tmp_path / "data", SPEC)
        expected = digests(tmp_path / "data/shards")
    else:
        expected = digests(root / "shards")
    assert digests(tmp_path / "s") == expected
    assert tree(tmp_path / "in") == before
    assert any(str(source) in line for line in told) and told[-1] == "this is a subset: 3 of ImageNet's 1000 classes"


@pytest.mark.parametrize("layout", ["imagenette", "imagenet-v2", "imagenet-v2 folder"])
def test_the_smaller_data_sets_keep_their_names_and_labels(layout: str, files: Files, tmp_path: Path) -> None:
    """Imagenette's splits are its own, and ImageNet-V2's folders are class indexes; the prepared root agrees."""
    if layout == "imagenette":
        held = {f"imagenette2-160/{path}": data for path, data in only(files, "train/", "val/").items()}
        source = write_tar(tmp_path / "imagenette2-160.tgz", held, "w:gz")
    else:
        top, data = "imagenetv2-matched-frequency-format-val", next(iter(files.values()))
        held = {f"{top}/{index}/{index:040x}.jpeg": data for index in (0, 2, 10, 999)}
        folder = layout.endswith("folder")
        source = write_tree(tmp_path / "in", held) if folder else write_tar(tmp_path / "v2.tar.gz", held)
    prepare_imagenet([source], tmp_path / "data")
    write_shards(tmp_path / "data", SPEC)

    manifest = write_shards(source, SPEC, out=tmp_path / "s")

    assert digests(tmp_path / "s") == digests(tmp_path / "data/shards")
    assert manifest.dataset == layout.split()[0] and verify(tmp_path / "s", decode=True).ok


@pytest.mark.parametrize("layout", ["zip", "zip in a folder", "folder"])
def test_tiny_imagenet_needs_no_preparing(layout: str, tmp_path: Path) -> None:
    """The labels and the names come from its own lists; its annotations are no samples."""
    place = tmp_path / "in"
    write_synthetic(place, SyntheticSpec(layout="tiny-imagenet", classes=3, images_per_class=4))
    source = archive = place / "tiny-imagenet-200.zip"
    if layout == "folder":
        with zipfile.ZipFile(archive) as file:
            file.extractall(tmp_path)
        source = tmp_path / "tiny-imagenet-200"
    prepare_tiny_imagenet(archive, tmp_path / "data")
    write_shards(tmp_path / "data", SPEC)

    assert (
        run(["shard", str(place if layout == "zip in a folder" else source), "--seed", "3", "--shard-count", "2"]) == 0
    )

    shards = (source if layout == "folder" else place) / "shards"
    assert digests(shards) == digests(tmp_path / "data/shards")
    assert read_shard_manifest(shards).dataset == "tiny-imagenet"


@pytest.mark.parametrize("layout", ["class_folders", *STREAMED, "kaggle_zip"])
def test_a_split_alone_keeps_the_class_indexes(layout: str, archives: Path, files: Files, tmp_path: Path) -> None:
    """The class list is that of all splits: training images of a class without validation images count."""
    files = {path: data for path, data in files.items() if not path.startswith("val/n01440764/")}
    source = build(layout, tmp_path / "in", archives, files)
    prepare_imagenet([source], tmp_path / "data")
    spec = replace(SPEC, splits=("val",))
    write_shards(tmp_path / "data", spec)

    manifest = write_shards(source, spec, out=tmp_path / "s")

    assert digests(tmp_path / "s") == digests(tmp_path / "data/shards")
    assert len(manifest.classes) == 3 and manifest.classes[0].id == "n01440764"


@pytest.mark.parametrize("form", ["folder", "tar", "tar.gz", "zip", "two tars"])
def test_splits_that_no_name_says_are_asked_about_and_taken(
    form: str, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message shows shard's own command, and the options give the shards of the root that prep makes with them."""
    place, out = tmp_path / "in", tmp_path / "out"
    images = {f"a/{p[6:]}": d for p, d in only(files, "train/").items()}
    images |= {f"b/{p[4:].replace('ILSVRC2012_val_', 'x')}": d for p, d in only(files, "val/").items()}
    source = write_tree(place, images) if form == "folder" else place
    place.mkdir(exist_ok=True)
    if form == "two tars":
        for name in "ab":
            write_tar(place / f"{name}.tar", {path[2:]: data for path, data in only(images, name).items()})
    elif form == "zip":
        source = write_zip(place / "x.zip", images)
    elif form != "folder":
        source = write_tar(place / f"x.{form}", images, "w:gz" if form == "tar.gz" else "w")
    options = ["--split-from", "a=train", "--split-from", "b=val"]

    assert run(["shard", str(source), "--out", str(out)]) == 1
    command = f"feedline shard {source} --split-from a=SPLIT --split-from b=SPLIT"
    assert command in capsys.readouterr().err
    assert not (out / "manifest.json").exists()
    assert run(["shard", str(source), "--out", str(tmp_path / "good"), *options, "--shard-count", "2"]) == 0
    assert run(["prep", "imagenet", str(source), "--out", str(tmp_path / "root"), *options]) == 0
    assert run(["shard", str(tmp_path / "root"), "--shard-count", "2"]) == 0

    assert digests(tmp_path / "good") == digests(tmp_path / "root/shards")


def test_a_choice_of_splits_that_says_nothing_is_refused(archives: Path, root: Path, tmp_path: Path) -> None:
    """Of a root and of Tiny-ImageNet, whose splits are known, and by a name that does not occur."""
    write_synthetic(tmp_path, SyntheticSpec(layout="tiny-imagenet", classes=2, images_per_class=2))
    tiny = tmp_path / "tiny-imagenet-200.zip"

    with pytest.raises(DatasetError, match="is a prepared root, which states its splits; leave --split-from out"):
        write_shards(root, SPEC, out=tmp_path / "out", split_from={"a": "val"})
    with pytest.raises(SourceError, match="is Tiny-ImageNet, which states its splits; leave --split-from out"):
        write_shards(tiny, SPEC, out=tmp_path / "out", split_from={"a": "val"})
    with pytest.raises(SourceError, match="no folder or archive of the sources is named 'a'; correct --split-from"):
        write_shards(archives / TRAIN, SPEC, out=tmp_path / "out", split_from={"a": "val"})


def test_an_empty_class_folder_is_a_class_of_the_shards_too(root: Path, tmp_path: Path) -> None:
    """Class indexes must not depend on whether the folders were prepared first."""
    source = tmp_path / "imagenet"
    for split in ("train", "val"):
        shutil.copytree(root / split, source / split)
    (source / "train" / "n00000001").mkdir()
    prepare_imagenet([source], tmp_path / "data")

    prepared = write_shards(tmp_path / "data", SPEC)
    straight = write_shards(source, SPEC, out=tmp_path / "straight")

    assert straight.classes[0].id == "n00000001"
    assert (straight.classes, straight.splits) == (prepared.classes, prepared.splits)


def test_a_label_list_that_contradicts_stops_the_shards(archives: Path, tmp_path: Path) -> None:
    """A valprep.sh beside the archives is compared, as by prep; nothing is written."""
    source = Path(shutil.copytree(archives, tmp_path / "in"))
    labels = validation_labels()
    script = source / "valprep.sh"
    script.write_text("".join(f"mv {name} {wnid}/\n" for name, wnid in labels.items()))
    told: list[str] = []
    write_shards(source, SPEC, out=tmp_path / "s", notice=told.append)
    assert f"{script}: classes of 50000 validation images, to compare" in told

    name = "ILSVRC2012_val_00012345.JPEG"
    script.write_text(f"mv {name} {next(wnid for wnid in wnids() if wnid != labels[name])}/\n")
    with pytest.raises(SourceError, match=f"says {name} is .*, the official list says {labels[name]}"):
        write_shards(source, SPEC, out=tmp_path / "no")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("conflict", ["two of a split", "two data sets", "one image twice", "one class twice"])
def test_sources_that_do_not_go_together_are_refused(
    conflict: str, archives: Path, files: Files, tmp_path: Path
) -> None:
    """What prep refuses, shard refuses with the same words."""
    place = tmp_path / "in"
    place.mkdir()
    data = next(iter(files.values()))
    if conflict == "two of a split":
        shutil.copy(archives / VAL, place / "a.tar")
        shutil.copy(archives / VAL, place / "b.tar")
    elif conflict == "two data sets":
        shutil.copy(archives / TRAIN, place)
        write_tar(place / "v2.tar", {"imagenetv2-top-images-format-val/7/a.jpeg": data})
    elif conflict == "one class twice":
        for half in ("a", "b"):
            LAYOUTS["class_tars"](place / half, archives, files)
    else:
        for i in range(2):
            write_tar(place / f"train_images_{i}.tar", {"n01440764_1_n01440764.JPEG": data})
    message = {
        "two of a split": "are both val",
        "two data sets": "imagenet and imagenet-v2 are different data sets",
        "one image twice": "have the same key",
        "one class twice": "two sources hold train/n",
    }[conflict]

    with pytest.raises(FeedlineError, match=message):
        write_shards(place, SPEC, out=tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_an_incomplete_imagenet_is_refused(
    archives: Path, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All 1000 classes with a wrong count are a damaged copy; the way around it goes through a prepared root."""
    data = next(iter(files.values()))
    named = {wnid: name for name, wnid in validation_labels().items()}
    archive = write_tar(tmp_path / VAL, dict.fromkeys(sorted(named.values()), data))

    with pytest.raises(
        SourceError, match=r"holds 1 val images of class .*run: feedline prep imagenet .*--checksum none"
    ):
        write_shards(archive, SPEC, out=tmp_path / "s")
    assert not (tmp_path / "s").exists()
    monkeypatch.setitem(OFFICIAL, "val", replace(OFFICIAL["val"], images=1000, fewest=1, most=1))
    with pytest.raises(SourceError, match=r"the official archive of val has 6744924160"):
        write_shards(archive, SPEC, out=tmp_path / "s")
    prepare_imagenet([archive], tmp_path / "data", checksum="none")
    assert write_shards(tmp_path / "data", SPEC).splits["val"].samples == 1000


def test_other_files_in_the_folder_are_reported(archives: Path, root: Path, tmp_path: Path) -> None:
    """Boxes and archives of something else are passed over, as by prep, and so are shards in the making."""
    source = Path(shutil.copytree(archives, tmp_path / "in"))
    write_tar(source / "ILSVRC2012_bbox_val_v3.tgz", {"bbox/val/ILSVRC2012_val_00000001.xml": b"<a/>"}, "w:gz")
    shutil.copytree(root / "shards", source / "begun")
    (source / "begun/manifest.json").rename(source / "begun/.partial")
    told: list[str] = []

    write_shards(source, SPEC, notice=told.append)

    assert digests(source / "shards") == digests(root / "shards")
    assert [line for line in told if line.startswith("ignored: ")] and "bbox" in "".join(told)


def test_samples_of_a_stream_are_listed_and_not_read(archives: Path, tmp_path: Path) -> None:
    """find_samples copies nothing: names, labels and sizes are there, the bytes only in write_shards."""
    archive = tmp_path / "val.tar.gz"
    archive.write_bytes(gzip.compress((archives / VAL).read_bytes()))
    listed, plain = find_samples(archive), find_samples(archives / VAL)

    assert listed.classes == plain.classes
    assert [(s.name, s.label, s.size) for s in listed.splits["val"]] == [
        (s.name, s.label, s.size) for s in plain.splits["val"]
    ]
    with SampleReader() as reader, pytest.raises(DatasetError, match="cannot read"):
        reader.read(listed.splits["val"][0])


def test_ray_reads_streams_through_the_copies(archives: Path, root: Path, files: Files, tmp_path: Path) -> None:
    """The workers are other processes: they reach the copies by path."""
    ray = pytest.importorskip("ray", reason="Ray is not installed; pip install 'feedline[ray]'")
    source = build("kaggle_tar", tmp_path / "in", archives, files)
    ray.init(num_cpus=2, log_to_driver=False, logging_level="ERROR")
    try:
        write_shards(source, SPEC, out=tmp_path / "s", engine="ray")
    finally:
        ray.shutdown()

    assert digests(tmp_path / "s") == digests(root / "shards")
    assert (archives / TEST).exists()

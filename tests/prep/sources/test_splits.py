"""Which split an image belongs to: known spellings are read, unknown names are asked about, nothing is guessed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import SourceError, prepare_imagenet, read_manifest
from feedline.prep.sources.naming import split_named, split_of_source

from ..trees import Files, flat, only, tree, write_tar, write_tree


def renamed(files: Files, train: str, val: str) -> Files:
    return {
        f"{train if path.startswith('train') else val}/{path.split('/', 1)[1]}": data for path, data in files.items()
    }


SPELLINGS = {
    "train": "train",
    "Train": "train",
    "TRAINING": "train",
    "trn": "train",
    "imagenet21k_train": "train",
    "train2012": "train",
    "train.X1": "train",
    "train (1)": "train",
    "val": "val",
    "valid": "val",
    "Validation": "val",
    "dev": "val",
    "imagenet21k_val": "val",
    "ILSVRC2012_img_val": "val",
    "val-256px": "val",
    "test": "test",
    "testing": "test",
    "test_v10102019": "test",
    "training data": "train",
    "images": None,
    "train_val": None,
    "trainval": None,
    "interval": None,
    "contest": None,
    "n01440764": None,
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_the_table_of_spellings(name: str) -> None:
    """Any case, with a prefix or suffix; a word inside another one, or two splits in one name, say nothing."""
    assert split_named(name) == SPELLINGS[name]


def test_the_name_of_a_source_may_say_something_else() -> None:
    """A folder "test-run" or "dev_box" that is given as source is no test split."""
    assert split_of_source("test-run") is None and split_of_source("dev_box") is None
    assert split_of_source("test_images") == "test" and split_of_source("imagenet21k_val") == "val"


@pytest.mark.parametrize("form", ["folder", "tar", "tar.gz", "zip"])
@pytest.mark.parametrize(
    ("train", "val"), [("Train", "valid"), ("imagenet21k_train", "imagenet21k_val"), ("training", "Validation")]
)
def test_common_names_are_read(files: Files, tmp_path: Path, train: str, val: str, form: str) -> None:
    """Validation images stay out of train in every form."""
    source = packed(tmp_path / "in", renamed(files, train, val), form)

    prepare_imagenet([source], tmp_path / "out")

    assert tree(tmp_path / "out") == files


def packed(place: Path, files: Files, form: str) -> Path:
    from ..layouts import write_zip

    if form == "folder":
        return write_tree(place, files)
    place.mkdir(exist_ok=True)
    if form == "zip":
        return write_zip(place / "data.zip", files)
    return write_tar(place / f"data.{form}", files, "w:gz" if form.endswith("gz") else "w")


@pytest.mark.parametrize("suffix", ["JPEG", "jpg", "jpeg", "png", "JPG"])
@pytest.mark.parametrize("form", ["folder", "tar", "zip"])
def test_labels_go_by_name_in_every_spelling(files: Files, tmp_path: Path, suffix: str, form: str) -> None:
    """ILSVRC2012_val_00000001.jpg has the label of ILSVRC2012_val_00000001.JPEG, flat or in a class folder."""
    val = {path.replace(".JPEG", f".{suffix}"): data for path, data in only(files, "val/").items()}
    loose = {path.split("/", 1)[1]: data for path, data in flat(val).items()}
    in_classes = {path.split("/", 1)[1]: data for path, data in val.items()}
    for number, images in enumerate((loose, in_classes)):
        source = packed(tmp_path / f"in{number}", images, form)

        prepare_imagenet([source], tmp_path / f"out{number}")

        assert tree(tmp_path / f"out{number}") == val
    wrong = {f"val/n15075141/{next(iter(loose))}": next(iter(loose.values()))}
    with pytest.raises(SourceError, match="its labels are wrong"):
        prepare_imagenet([packed(tmp_path / "wrong", wrong, form)], tmp_path / "no")


@pytest.mark.parametrize("form", ["folder", "tar", "tar.gz", "zip"])
@pytest.mark.parametrize(
    ("train", "val"), [("a", "b"), ("train", "holdout"), ("big/images", "small/images"), ("part A", "part B")]
)
def test_unknown_names_are_asked_about(
    files: Files, tmp_path: Path, train: str, val: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders of the same classes: the message shows the option, and the option is enough."""
    named = {
        path.replace("ILSVRC2012_val_", "x"): data for path, data in renamed(files, train, val).items()
    }  # a name of val would say it
    source, out = packed(tmp_path / "in", named, form), tmp_path / "out"
    unknown = {name: split for name, split in ((train, "train"), (val, "val")) if name != "train"}
    unknown = {name.split("/")[0]: split for name, split in unknown.items()}

    assert run(["prep", "imagenet", str(source), "--out", str(out)]) == 1
    message = capsys.readouterr().err
    assert all(f"{name}=SPLIT" in message for name in unknown) and "say it" in message
    assert not (out / "manifest.json").exists()
    options = [text for name, split in unknown.items() for text in ("--split-from", f"{name}={split}")]
    assert run(["prep", "imagenet", str(source), "--out", str(tmp_path / "good"), *options]) == 0

    expected = {path.replace("ILSVRC2012_val_", "x"): data for path, data in files.items()}
    assert tree(tmp_path / "good") == expected


def test_a_single_unknown_folder_is_train_and_said(files: Files, tmp_path: Path) -> None:
    """Class folders under "images" are taken as train, as they always were."""
    images = {f"images/{path.split('/', 1)[1]}": data for path, data in only(files, "train/").items()}
    told: list[str] = []

    prepare_imagenet([write_tree(tmp_path / "in", images)], tmp_path / "out", notice=told.append)

    assert tree(tmp_path / "out") == only(files, "train/")
    assert any("no name says a split" in line and "--split-from" in line for line in told)


def test_two_sources_without_a_split_are_asked_about(files: Files, tmp_path: Path) -> None:
    """Two tars of the same classes; with the option each is what it is."""
    train = {path.split("/", 1)[1]: data for path, data in only(files, "train/").items()}
    val = {path.split("/", 1)[1].replace("ILSVRC2012_val", "x"): d for path, d in only(files, "val/").items()}
    sources = [write_tar(tmp_path / "one.tar", train), write_tar(tmp_path / "two.tar", val)]

    with pytest.raises(SourceError, match=r"'one', 'two'.*--split-from one=SPLIT --split-from two=SPLIT"):
        prepare_imagenet(sources, tmp_path / "no")
    prepare_imagenet(sources, tmp_path / "out", split_from={"one": "train", "two": "val"})

    assert {path.replace("x_", "ILSVRC2012_val_"): d for path, d in tree(tmp_path / "out").items()} == files


def test_classes_of_test_are_said_and_can_be_val(files: Files, tmp_path: Path) -> None:
    """ImageNet's test has no labels, so labelled test images are left out, counted, or taken as val."""
    test = {path.replace("val/", "test/").replace("ILSVRC2012_val", "x"): d for path, d in only(files, "val/").items()}
    source = write_tree(tmp_path / "in", test)
    with pytest.raises(SourceError, match=r"class folders of test only.*--split-from test=val"):
        prepare_imagenet([source], tmp_path / "no")

    prepare_imagenet([source], tmp_path / "out", split_from={"test": "val"})

    assert set(read_manifest(tmp_path / "out").splits) == {"val"} and len(tree(tmp_path / "out")) == len(test)
    told: list[str] = []
    write_tree(source, only(files, "train/"))
    prepare_imagenet([source], tmp_path / "both", notice=told.append)
    assert tree(tmp_path / "both") == only(files, "train/")
    assert f"{source}: left out: {len(test)} files: {len(test)} .jpeg in class folders of test" in told


@pytest.mark.parametrize(
    ("options", "says", "code"),
    [
        (["--split-from", "valid"], "needs NAME=SPLIT", 2),
        (["--split-from", "train=training"], "the splits are train, val, test", 1),
        (["--split-from", "nothing=val"], "no folder or archive of the sources is named 'nothing'", 1),
    ],
)
def test_a_wrong_choice_is_refused(
    files: Files, tmp_path: Path, options: list[str], says: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bad syntax, a split that does not exist, a name that does not occur."""
    source = write_tree(tmp_path / "in", files)

    assert run(["prep", "imagenet", str(source), "--out", str(tmp_path / "out"), *options]) == code
    assert says in capsys.readouterr().err


def change_case(files: Files) -> Files:
    return renamed(files, "TRAIN", "VAL")


@pytest.mark.parametrize("build", [change_case])
def test_the_choice_goes_before_the_table(files: Files, tmp_path: Path, build: Callable[[Files], Files]) -> None:
    """--split-from VAL=train is what the user says."""
    val = {path.replace("ILSVRC2012_val", "x"): data for path, data in build(only(files, "val/")).items()}

    prepare_imagenet([write_tree(tmp_path / "in", val)], tmp_path / "out", split_from={"VAL": "train"})

    assert set(read_manifest(tmp_path / "out").splits) == {"train"}


@pytest.mark.parametrize("form", ["tar", "tar.gz", "zip"])
def test_archives_get_the_split_of_their_folder(files: Files, tmp_path: Path, form: str) -> None:
    """train/data.tar and val/data.tar are no pieces of one set."""
    place = tmp_path / "in"
    for split in ("train", "valid"):
        images = {path.split("/", 1)[1]: data for path, data in only(files, split[:3]).items()}
        (place / split).mkdir(parents=True)
        packed(place / split, images, form)

    prepare_imagenet([place], tmp_path / "out")

    assert tree(tmp_path / "out") == files


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_archives_of_one_name_in_unknown_folders_are_asked_about(files: Files, tmp_path: Path, form: str) -> None:
    """one/data.tar and two/data.tar: the folders are what is asked about."""
    place = tmp_path / "in"
    for split, folder in (("train", "one"), ("val", "two")):
        images = {p.split("/", 1)[1].replace("ILSVRC2012_val", "x"): d for p, d in only(files, split).items()}
        (place / folder).mkdir(parents=True)
        packed(place / folder, images, form)

    with pytest.raises(SourceError, match="--split-from one=SPLIT --split-from two=SPLIT"):
        prepare_imagenet([place], tmp_path / "no")
    prepare_imagenet([place], tmp_path / "out", split_from={"one": "train", "two": "val"})

    assert {path.replace("x_", "ILSVRC2012_val_"): d for path, d in tree(tmp_path / "out").items()} == files

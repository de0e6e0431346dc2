"""Which folder is a split and which a class: the first below the split, and what can be meant in two ways is asked."""

import pytest
from hypothesis import given, strategies as st

from feedline.prep import SourceError
from feedline.prep.labelled.arrangement import arrange
from feedline.prep.sources.naming import SplitNames

Folders = dict[str, int]


def placed(folders: Folders, *empty: str, depth: int | None = None, default: str = "", **split_from: str) -> Folders:
    """{folder: (split, class)} of a source whose folders hold so many images; ``empty`` are folders without."""

    def subfolders(folder: str) -> set[str]:
        start = f"{folder}/" if folder else ""
        names = (name[len(start) :] for name in (*folders, *empty) if name.startswith(start))
        return {name.partition("/")[0] for name in names} - {""}

    found = arrange(folders, subfolders, "photos", SplitNames(split_from), default, depth)
    return {folder: (place.split, place.label) for folder, place in found.places.items()}


CASES = {
    "classes": ({"cat": 2, "dog": 1}, {"cat": ("", "cat"), "dog": ("", "dog")}),
    "splits": ({"train/cat": 1, "val/cat": 1}, {"train/cat": ("train", "cat"), "val/cat": ("val", "cat")}),
    "spellings": (
        {"Training/a": 1, "validation/a": 1, "testing/a": 1},
        {"Training/a": ("train", "a"), "validation/a": ("val", "a"), "testing/a": ("test", "a")},
    ),
    "years": ({"train2012/a": 1, "val_2012/a": 1}, {"train2012/a": ("train", "a"), "val_2012/a": ("val", "a")}),
    "deeper images": ({"cat/2021/may": 1, "dog": 1}, {"cat/2021/may": ("", "cat"), "dog": ("", "dog")}),
    "one folder around": ({"food-101/images/pie": 1, "food-101/images/soup": 1}, None),
    "doubled": ({"train/train/cat": 1, "train/train/dog": 1}, None),
    "unlabelled test": ({"train/cat": 1, "test": 5}, {"train/cat": ("train", "cat"), "test": ("test", "")}),
    "test in test": ({"train/cat": 1, "test/test": 5}, {"train/cat": ("train", "cat"), "test/test": ("test", "")}),
    "loose images": ({"": 3, "cat": 1, "dog": 1}, {"cat": ("", "cat"), "dog": ("", "dog")}),
    "a vehicle": ({"bus": 1, "car": 1, "train": 1}, {name: ("", name) for name in ("bus", "car", "train")}),
    "a place": ({"pond": 1, "train_station": 1}, {name: ("", name) for name in ("pond", "train_station")}),
    "images in each": ({"cat/images": 1, "dog/images": 1}, {"cat/images": ("", "cat"), "dog/images": ("", "dog")}),
    "one class": ({"cat": 4}, {"cat": ("", "cat")}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_class_is_the_first_folder_below_its_split(case: str) -> None:
    folders, expected = CASES[case]
    found = placed(folders)
    if expected is None:  # the last folder is the class
        split = "train" if case == "doubled" else ""
        expected = {folder: (split, folder.rpartition("/")[2]) for folder in folders}
    assert found == expected


@pytest.mark.parametrize("depth", [1, 2, 3, 1000])
def test_more_folders_can_make_a_class(depth: int) -> None:
    """An image that lies higher has the folders that it has."""
    found = placed({"animals/cat/kitten": 1, "animals/dog": 1, "plants": 1}, depth=depth)
    assert found["animals/cat/kitten"] == ("", "/".join(["animals", "cat", "kitten"][:depth]))
    assert found["animals/dog"] == ("", "/".join(["animals", "dog"][:depth]))
    assert found["plants"] == ("", "plants")


REFUSED = {
    "flat": ({"": 5}, "photos holds 5 images that are in no class folder.*--labels FILE"),
    "flat in images": ({"images": 5}, "photos/images holds 5 images that are in no class folder.*--labels FILE"),
    "masks": ({"images": 5, "annotations/trimaps": 5}, "photos/images holds 5 images.*--labels FILE"),
    "flat train": ({"train": 5, "val/cat": 1}, "photos/train holds 5 images that are in no class folder"),
    "coco": ({"train2017": 5, "val2017": 5}, "photos/train2017 holds 5 images that are in no class folder"),
    "unknown split": ({"train/cat": 1, "holdout/cat": 1}, 'photos holds holdout next to train.*"holdout=SPLIT"'),
    "unknown splits": ({"a/cat": 1, "a/dog": 1, "b/cat": 1}, 'if these are splits.*"a=SPLIT".*--class-depth 1'),
    "spaces": ({"cat": 1, "cat ": 1}, "'cat' and 'cat ' differ only in spaces"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_be_meant_in_two_ways_is_asked(case: str) -> None:
    folders, message = REFUSED[case]
    with pytest.raises(SourceError, match=message):
        placed(folders)


def test_an_answer_is_taken() -> None:
    """--split-from for splits, --class-depth for classes."""
    folders = {"a/cat": 1, "a/dog": 1, "b/cat": 1}
    assert placed(folders, a="train", b="val")["b/cat"] == ("val", "cat")
    assert placed(folders, depth=1)["b/cat"] == ("", "b")
    assert placed(folders, depth=1000)["b/cat"] == ("", "b/cat")
    assert placed({"cat": 1}, default="val") == {"cat": ("val", "cat")}


def test_a_split_without_images_is_refused() -> None:
    with pytest.raises(SourceError, match=r"photos/val holds no image; .*one by one: photos/train"):
        placed({"train/cat": 1}, "val/cat")


NAMES = st.text("aé 中.%", min_size=1, max_size=3) | st.sampled_from(["train", "val", "test", "images"])


@given(
    st.dictionaries(st.lists(NAMES, max_size=4).map("/".join), st.integers(1, 3), min_size=1), st.none() | st.just(1)
)
def test_any_folders_are_placed_or_refused(folders: Folders, depth: int | None) -> None:
    """No other exception, and the class is a part of the path."""
    try:
        found = placed(folders, depth=depth)
    except SourceError as error:
        assert "photos" in str(error) or "differ only in spaces" in str(error)
    else:
        assert all(label in folder for folder, (_, label) in found.items())

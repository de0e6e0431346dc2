"""Which files of the class folders are samples: one answer of all loaders, whatever else lies in the folders."""

import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from feedline.loaders import LOADERS, open_loader
from feedline.prep import MANIFEST, FeedlineError, read_manifest, write_document

from .contract import COVERING, require_loader, spec_of

OF_FOLDERS = [name for name in COVERING if LOADERS[name].needs != "shards"]

Outcome = str | list[tuple[list[int], list[int]]]


def outcome(name: str, root: Path, **changes: object) -> Outcome:
    """Return the indexes and labels of an epoch, or the error with which the loader refuses the root."""
    require_loader(name)
    try:
        with closing(open_loader(name, spec_of(root, **changes))) as loader:
            return [(batch.indexes.tolist(), batch.labels.tolist()) for batch in loader]
    except FeedlineError as error:
        return str(error)


STRANGERS = [
    ".DS_Store",
    "Thumbs.db",
    "README.txt",
    "._n.JPEG",
    ".hidden.jpg",
    "@eaDir/n.JPEG",
    ".ipynb_checkpoints/n.JPEG",
    "more/n.JPEG",
]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_loaders_agree_about_strangers(stranger: str, folders: Path) -> None:
    """They yield the same samples, or refuse the folder in the same words; no loader trains where another refuses."""
    image = min((folders / "train").rglob("*.JPEG"))
    path = image.parent / stranger
    path.parent.mkdir(exist_ok=True)
    shutil.copy(image, path)
    found = {name: outcome(name, folders) for name in OF_FOLDERS}

    assert len({str(result) for result in found.values()}) == 1, found


def test_loaders_agree_about_a_missing_image(folders: Path) -> None:
    min((folders / "train").rglob("*.JPEG")).unlink()
    found = {name: outcome(name, folders) for name in OF_FOLDERS}

    assert set(map(type, found.values())) == {str}
    assert len(set(map(str, found.values()))) == 1


@pytest.mark.parametrize("folder", ["empty", "missing"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_class_that_one_split_lacks_keeps_its_label(split: str, folder: str, folders: Path) -> None:
    """Whether its folder is empty or not there: the labels of the other classes stay the same in both splits."""
    manifest = read_manifest(folders)
    lacking = folders / split / manifest.classes[1].id
    shutil.rmtree(lacking)
    if folder == "empty":
        lacking.mkdir()
    held = manifest.splits[split]
    counts = (held.per_class[0], 0, *held.per_class[2:])
    changed = replace(held, per_class=counts, images=sum(counts))
    write_document(folders / MANIFEST, replace(manifest, splits={**manifest.splits, split: changed}))
    for name in OF_FOLDERS:
        labels: dict[str, list[int]] = {}
        for each in ("train", "val"):
            found = outcome(name, folders, split=each, shuffle=False, transform="eval")
            assert not isinstance(found, str), found
            labels[each] = [label for _, batch in found for label in batch]

        assert set(labels[split]) == {0, 2, 3}
        assert set(labels["val" if split == "train" else "train"]) == {0, 1, 2, 3}
        assert [labels[split].count(label) for label in range(4)] == list(counts)

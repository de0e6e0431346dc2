"""Large class folders are listed once for all processes, and again when they change."""

import os
import pickle
import sys
import threading
from pathlib import Path

import pytest

from feedline.loaders import Loader, LoaderSpec, open_loader
from feedline.prep import DatasetError, list_samples, prepare_imagefolder, read_manifest
from feedline.prep.roots import kept_listings
from feedline.prep.roots.kept_listings import open_listing
from feedline.prep.roots.listing import Listing, list_split

from ..contract import require_loader


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder; splits of 10 images are already large."""
    monkeypatch.setattr(kept_listings, "KEPT", 10)
    monkeypatch.setattr(kept_listings, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "listings"


def old(root: Path) -> Path:
    """Return the root, in which no folder was changed in the last hour."""
    for folder in [path for path in root.rglob("*") if path.is_dir()]:
        os.utime(folder, (folder.stat().st_mtime - 3600,) * 2)
    return root


def paths_of(listing: Listing) -> list[tuple[str, int]]:
    return [(listing.path(index), listing.labels.item(index)) for index in range(len(listing))]


def opened(root: Path, split: str = "train") -> Listing:
    return open_listing(root, read_manifest(root), split)


def expected(root: Path, split: str = "train") -> list[tuple[str, int]]:
    return [(str(sample.path), sample.label) for sample in list_samples(root, read_manifest(root), split)]


def test_a_kept_listing_is_the_list_of_samples(folders: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process lists, the next ones map the same file, worker processes too."""
    first = opened(old(folders))
    monkeypatch.setattr(kept_listings, "list_split", lambda *_: pytest.fail("listed again"))
    again = opened(folders)
    sent = pickle.loads(pickle.dumps(again))

    assert paths_of(first) == paths_of(again) == paths_of(sent) == expected(folders)
    assert first.file == again.file == sent.file and again.file in cache.iterdir()
    assert len(pickle.dumps(again)) < 1000
    assert not again.labels.flags.writeable
    assert not [path for path in folders.rglob("*") if "listing" in path.name]  # nothing is written into the data


def test_a_list_is_kept_too(tmp_path: Path, folders: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of images that are used where they lie, split at random; a file that is gone is noticed."""
    source = old(folders) / "train"
    prepare_imagefolder([source], source, val_fraction=0.25)
    assert paths_of(opened(old(source))) == expected(source)
    with monkeypatch.context() as patched:
        patched.setattr(kept_listings, "list_split", lambda *_: pytest.fail("listed again"))
        assert paths_of(opened(source)) == expected(source)
    Path(opened(source).path(5)).unlink()
    with pytest.raises(DatasetError, match=r"cannot read .*feedline verify"):
        opened(source)


@pytest.mark.parametrize("change", ["remove", "rename", "add"])
def test_a_changed_folder_is_listed_again(change: str, folders: Path, cache: Path) -> None:
    """A kept listing does not hide what verify would find."""
    victim = Path(opened(old(folders)).path(30))
    if change == "rename":
        victim.rename(victim.with_name("a.JPEG"))
        assert paths_of(opened(folders)) == expected(folders)
        return
    victim.unlink() if change == "remove" else victim.with_name("a.JPEG").write_bytes(victim.read_bytes())
    with pytest.raises(DatasetError, match=r"has 8[35] images where the manifest says 84; run: feedline verify"):
        opened(folders)


def test_a_folder_that_was_changed_just_now_is_not_kept(folders: Path, cache: Path) -> None:
    """A second change within the tick of the file system's clock would go unnoticed."""
    (old(folders) / "train" / "n01440764").touch()
    assert opened(folders).file is None
    assert not list(cache.glob("*.listing"))


def test_processes_that_open_at_once_list_once(folders: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ranks of a machine: the others wait for the first."""
    root, calls, found = old(folders), list[int](), list[Listing]()

    def slowly(*arguments: object) -> Listing:
        calls.append(1)
        threading.Event().wait(0.2)
        return list_split(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(kept_listings, "list_split", slowly)
    ranks = [threading.Thread(target=lambda: found.append(opened(root))) for _ in range(4)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert len(calls) == 1
    assert [paths_of(listing) for listing in found] == [expected(root)] * 4


@pytest.mark.parametrize("damage", [b"", b"{}", b"\0" * 600, None])
def test_a_damaged_listing_is_made_again(damage: bytes | None, folders: Path, cache: Path) -> None:
    """Also one that was cut short."""
    file = opened(old(folders)).file
    assert file is not None
    whole = file.read_bytes()
    file.unlink()  # not changed in place: it is mapped
    file.write_bytes(whole[:-100] if damage is None else damage)
    assert paths_of(opened(folders)) == expected(folders)
    assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_a_listing_each(folders: Path, cache: Path) -> None:
    """A home on a read-only or full disk."""
    cache.parent.write_bytes(b"")
    listing = opened(old(folders))
    assert listing.file is None and paths_of(listing) == expected(folders)
    assert paths_of(pickle.loads(pickle.dumps(listing))) == expected(folders)


def test_listings_of_roots_that_are_gone_are_removed(folders: Path, tmp_path: Path, cache: Path) -> None:
    """When the next one is written."""
    opened(old(folders))
    other = folders.rename(tmp_path / "moved")
    opened(other)
    assert len(list(cache.glob("*.listing"))) == 1


def test_a_listing_that_was_replaced_is_not_mixed_up(folders: Path, cache: Path) -> None:
    """While worker processes start."""
    data = pickle.dumps(opened(old(folders)))
    victim = Path(opened(folders).path(30))
    victim.rename(victim.with_name("a.JPEG"))
    os.utime(folders, (0, 0))
    opened(old(folders))
    with pytest.raises(DatasetError, match="open the loader again"):
        pickle.loads(data)


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_names_of_any_bytes(folders: Path, cache: Path) -> None:
    """Not UTF-8, with a line end, with blanks."""
    folder = folders / "train" / "n01440764"
    for number, name in enumerate((b"\xff\xfe.JPEG", b"a\nb.JPEG", b" .jpg", "日本.png".encode())):
        path = sorted(folder.iterdir())[number + 4]
        path.rename(folder / os.fsdecode(name))
    assert paths_of(opened(old(folders))) == expected(folders)
    assert opened(folders).file is not None
    assert paths_of(opened(folders)) == expected(folders)


@pytest.mark.parametrize("name", ["imagefolder", "threaded", "dali"])
def test_loaders_of_kept_listings_yield_the_same(name: str, folders: Path, cache: Path) -> None:
    """Samples, labels and keys, with workers."""
    spec = LoaderSpec(root=old(folders), batch_size=10, image_size=32, workers=2)
    runs: list[list[tuple[list[int], list[int], tuple[str, ...]]]] = []
    for _ in range(2):
        loader: Loader
        with open_loader(require_loader(name), spec) as loader:
            runs.append([(batch.indexes.tolist(), batch.labels.tolist(), tuple(batch.keys)) for batch in loader])
    labels = [label for _, label in expected(folders)]
    assert runs[0] == runs[1]
    assert [label for _, found, _ in runs[0] for label in found] == [
        labels[i] for found, _, _ in runs[0] for i in found
    ]

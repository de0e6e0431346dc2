"""The shards that a user names: folders, tars and patterns, their splits, and what is refused."""

import gzip
import re
import sys
from pathlib import Path

import pytest

from feedline.prep import FeedlineError, ShardManifest, prepare_webdataset, verify

from ..foreign_shards import image, sample, write_img2dataset, write_tar, write_timm


def shards_of(manifest: ShardManifest) -> dict[str, list[str]]:
    return {split: [shard.name for shard in held.shards] for split, held in manifest.splits.items()}


def write_shard(path: Path, label: str = "0", count: int = 2) -> Path:
    return write_tar(path, [m for n in range(count) for m in sample(str(n), {"jpg": image(n), "cls": label})])


def refused(message: str, *sources: str | Path, root: Path, **options: object) -> None:
    with pytest.raises(FeedlineError, match=message):
        prepare_webdataset(sources, root, **options)  # type: ignore[arg-type]
    assert not (root / "shards" / "manifest.json").exists()


TRAIN = ["imagenet1k-train-0000.tar", "imagenet1k-train-0001.tar"]
VAL = ["imagenet1k-validation-0000.tar", "imagenet1k-validation-0001.tar"]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["{}"], {"train": TRAIN, "val": VAL}),
        (["{}/imagenet1k-{{train,validation}}-{{0000..0001}}.tar"], {"train": TRAIN, "val": VAL}),
        (["{}/imagenet1k-train-{{0000..0001}}.tar"], {"train": TRAIN}),
        (["{}/imagenet1k-train-0001.tar"], {"train": TRAIN[1:]}),
        (["{}/imagenet1k-train-*.tar", "{}/imagenet1k-validation-0000.tar"], {"train": TRAIN, "val": VAL[:1]}),
        (["{}", "{}/imagenet1k-train-0000.tar"], {"train": TRAIN, "val": VAL}),
    ],
)
def test_folders_tars_and_patterns_name_shards(
    sources: list[str], expected: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given with absolute or relative paths; a shard that is named twice is taken once."""
    place = write_timm(tmp_path / "wds")
    found = prepare_webdataset([source.format(place) for source in sources], tmp_path / "data")
    assert shards_of(found) == expected and Path(found.place or "") == place

    monkeypatch.chdir(tmp_path)
    found = prepare_webdataset([source.format("wds") for source in sources], Path("other"))
    assert shards_of(found) == expected and verify(Path("other")).ok


def test_several_folders_have_their_common_parent_as_place(tmp_path: Path) -> None:
    """Names are paths below it, and the folders say the splits."""
    write_shard(tmp_path / "a" / "train" / "00000.tar")
    write_shard(tmp_path / "a" / "val" / "00000.tar")
    found = prepare_webdataset([tmp_path / "a" / "train", tmp_path / "a" / "val"], tmp_path / "data")

    assert shards_of(found) == {"train": ["train/00000.tar"], "val": ["val/00000.tar"]}
    assert Path(found.place or "") == tmp_path / "a"
    assert (tmp_path / "data" / "shards" / "train" / "00000.index").is_file()


def test_a_missing_shard_of_a_pattern_is_named(tmp_path: Path) -> None:
    """With the number of missing ones."""
    write_timm(tmp_path)
    pattern = str(tmp_path / "imagenet1k-train-{0000..0004}.tar")
    refused(r"train-0002\.tar and 2 more of the 5 shards of .* are missing", pattern, root=tmp_path / "data")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("https://example.org/x-{0..1}.tar", "is an address, and feedline reads local files"),
        ("pipe:curl x", "is an address, and feedline reads local files"),
        ("nowhere", "nowhere does not exist; give a folder of shards, a shard, or a pattern"),
        ("nowhere-*.tar", "does not exist"),
    ],
)
def test_what_is_not_there_is_refused(source: str, message: str, tmp_path: Path) -> None:
    """One sentence each."""
    refused(message, source, root=tmp_path / "data")


def test_compressed_shards_are_refused_with_the_reason(tmp_path: Path) -> None:
    """By their name, by their content, and in a folder of nothing else."""
    tar = write_shard(tmp_path / "plain" / "train-0.tar")
    zipped = tmp_path / "gz" / "train-0.tar.gz"
    zipped.parent.mkdir()
    zipped.write_bytes(gzip.compress(tar.read_bytes()))
    reason = "compressed as a whole, so that no sample in it can be read alone"
    refused(rf"{reason}; decompress it with: gunzip --keep {re.escape(str(zipped))}", zipped, root=tmp_path / "data")
    refused(r"holds no shard \(\*\.tar\), but 1 \.tar\.gz", zipped.parent, root=tmp_path / "data")
    hidden = zipped.rename(zipped.with_name("train-0.tar"))
    refused(rf"{reason}; rename it to train-0\.tar\.gz", hidden, root=tmp_path / "data")


def test_other_files_are_counted(tmp_path: Path) -> None:
    """In folders, and in the list that a shell makes of a pattern."""
    place, said = write_img2dataset(tmp_path / "train"), list[str]()
    prepare_webdataset([place], tmp_path / "a", label_from="json:kind", notice=said.append)
    assert said == ["left out: 4 files that are no shard: 2 .json, 2 .parquet"]
    prepare_webdataset(sorted(place.iterdir()), tmp_path / "b", label_from="json:kind", notice=said.append)
    assert said[1:] == said[:1]


def test_names_without_a_split_are_asked_about(tmp_path: Path) -> None:
    """The command that answers is in the message."""
    write_shard(tmp_path / "wds" / "part-a" / "00000.tar")
    write_shard(tmp_path / "wds" / "part-b" / "00000.tar")
    command = rf"feedline prep webdataset {tmp_path}/wds --out {tmp_path}/data"
    refused(f"{command} --split-from part-a=SPLIT --split-from part-b=SPLIT", tmp_path / "wds", root=tmp_path / "data")
    found = prepare_webdataset([tmp_path / "wds"], tmp_path / "data", split_from={"part-a": "train", "part-b": "val"})
    assert shards_of(found) == {"train": ["part-a/00000.tar"], "val": ["part-b/00000.tar"]}


def test_a_contradiction_is_asked_about(tmp_path: Path) -> None:
    """Of a name and its folder."""
    write_shard(tmp_path / "val" / "x-train-0.tar")
    refused(r"is train by its name and val by its folder; .*prep webdataset", tmp_path, root=tmp_path / "data")


def test_roots_and_shards_of_feedline_need_no_preparing(root: Path, tmp_path: Path) -> None:
    """The folder to give is named."""
    refused("is a prepared root; write shards of it with: feedline shard", root, root=tmp_path / "data")
    refused("holds shards that feedline wrote, which need no preparing", root / "shards", root=tmp_path / "data")
    with pytest.raises(FeedlineError, match="holds class folders that feedline prepared"):
        prepare_webdataset([write_timm(tmp_path / "wds")], root)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_keep_their_names(tmp_path: Path) -> None:
    """The cache of the Hugging Face Hub has links to files that are named by their checksum."""
    blob = write_shard(tmp_path / "blobs" / "0f3a.tar")
    snapshot = tmp_path / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    (snapshot / "x-train-0000.tar").symlink_to(blob)

    found = prepare_webdataset([snapshot], tmp_path / "data")
    assert shards_of(found) == {"train": ["x-train-0000.tar"]} and verify(tmp_path / "data").ok


def test_the_root_may_be_the_folder_of_the_shards(tmp_path: Path, listing) -> None:  # type: ignore[no-untyped-def]
    """Only ROOT/shards is written, and a second run does not take it for a source. Both can be moved together."""
    place = write_timm(tmp_path / "wds")
    before = listing(place)
    for _ in range(2):
        found = prepare_webdataset([place], place)
        assert found.place == ".." and shards_of(found) == {"train": TRAIN, "val": VAL}
    assert {name: was for name, was in listing(place).items() if not name.startswith("shards")} == before
    moved = place.rename(tmp_path / "moved")
    assert verify(moved).ok


def test_shards_that_lie_in_the_root_are_indexed_there(tmp_path: Path) -> None:
    """ROOT/shards is their folder, so their indexes lie next to them, with labels of any kind."""
    write_shard(tmp_path / "data" / "shards" / "train-0.tar", "cat")
    write_shard(tmp_path / "data" / "shards" / "val-0.tar", "dog")
    found = prepare_webdataset([tmp_path / "data" / "shards"], tmp_path / "data")

    assert found.place is None and [entry.id for entry in found.classes] == ["cat", "dog"]
    assert verify(tmp_path / "data").ok

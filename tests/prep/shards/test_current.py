"""Shards that no longer match the class folders of their root: said by prep, found by verify, refused by shard."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import (
    OutputError,
    ShardManifest,
    SyntheticSpec,
    read_document,
    read_manifest,
    read_shard_manifest,
    verify,
    write_document,
    write_shards,
    write_synthetic,
)
from feedline.prep.shards.current import difference, stale_shards


@pytest.fixture
def grown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    """A root of two classes whose shards were written before prep added two more, and what that prep said."""
    source, root = tmp_path / "archives", tmp_path / "data"
    write_synthetic(source, SyntheticSpec(layout="ilsvrc2012", classes=4, images_per_class=3, scale=0.2))
    wnids = sorted(path.name for path in _prepared(source, tmp_path / "all").joinpath("train").iterdir())
    (tmp_path / "two.txt").write_text("\n".join(wnids[1:3]))
    given = ["prep", "imagenet", str(source), "--out", str(root), "--checksum", "none"]
    assert run([*given, "--split", "train", "--classes", str(tmp_path / "two.txt")]) == 0
    write_shards(root)
    assert verify(root).ok and verify(root / "shards").ok and stale_shards(root) is None
    capsys.readouterr()
    assert run([*given, "--split", "val"]) == 0
    return root, " ".join(capsys.readouterr().err.split())


def _prepared(source: Path, out: Path) -> Path:
    assert run(["prep", "imagenet", str(source), "--out", str(out), "--checksum", "none"]) == 0
    return out


def test_prep_says_that_the_shards_are_old(grown: tuple[Path, str]) -> None:
    """With the difference and the command."""
    root, said = grown

    assert f"the shards are now old: {root}/shards was made of other data than {root} has now" in said
    assert "the shards have 2 classes and the class folders 4" in said
    assert f"move {root}/shards away, then write the shards again: feedline shard {root}" in said


def test_verify_of_root_and_shards_finds_it_and_the_command_helps(
    grown: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither is whole; nothing is called damaged; the root itself is."""
    root, _ = grown
    for path in (root, root / "shards"):
        assert run(["verify", str(path)]) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "the shards have 2 classes and the class folders 4" in said
        assert "are old" in said and "damaged" not in said
    assert verify(root, shards=False).ok
    with pytest.raises(OutputError, match=r"holds other shards .* move it away or choose another directory"):
        write_shards(root)

    (root / "shards").rename(tmp_path / "old")
    assert run(["shard", str(root)]) == 0
    assert verify(root).ok and verify(root / "shards").ok


def other_class(manifest: ShardManifest) -> ShardManifest:
    first, *rest = manifest.classes
    return replace(manifest, classes=(replace(first, id="n00000001"), *rest))


def other_count(manifest: ShardManifest) -> ShardManifest:
    held = replace(manifest.splits["train"], samples=manifest.splits["train"].samples + 1)
    return replace(manifest, splits={**manifest.splits, "train": held})


def other_images_per_class(manifest: ShardManifest) -> ShardManifest:
    held = manifest.splits["train"]
    counts = (held.per_class[0] + 1, held.per_class[1] - 1, *held.per_class[2:])
    return replace(manifest, splits={**manifest.splits, "train": replace(held, per_class=counts)})


def other_bytes(manifest: ShardManifest) -> ShardManifest:
    held = replace(manifest.splits["val"], source_bytes=1)
    return replace(manifest, splits={**manifest.splits, "val": held})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_class, r"class 0 is n00000001 in the shards and n\d{8} in the class folders"),
        (other_count, "train has 85 samples in the shards and 84 images"),
        (other_images_per_class, r"train has 22 samples of n\d{8} in the shards and 21 images"),
        (other_bytes, "the shards of val were made of 1 bytes"),
    ],
)
def test_every_difference_is_named(change: Callable[[ShardManifest], ShardManifest], says: str, root: Path) -> None:
    """Classes, counts, counts of a class, and the bytes of the images."""
    shards, manifest = read_shard_manifest(root / "shards"), read_manifest(root)

    assert difference(shards, manifest) is None
    found = difference(change(shards), manifest)
    assert found is not None
    assert re.search(says, found), found


def test_manifests_without_the_new_counts_are_read_and_compared(root: Path, tmp_path: Path) -> None:
    """Those of version 0.1 have classes and totals."""
    value = json.loads((root / "shards" / "manifest.json").read_text())
    for held in value["splits"].values():
        assert held.pop("per_class") and held.pop("source_bytes")
    (tmp_path / "manifest.json").write_text(json.dumps(value))
    old = read_document(tmp_path / "manifest.json", ShardManifest)

    assert difference(old, read_manifest(root)) is None
    assert difference(other_count(old), read_manifest(root)) is not None


def test_numbered_classes_and_other_splits_are_no_difference(root: Path) -> None:
    """Shards of another tool number their classes; a split that only one side has is not compared."""
    shards, manifest = read_shard_manifest(root / "shards"), read_manifest(root)
    numbered = replace(
        shards, classes=tuple(replace(entry, id=str(label)) for label, entry in enumerate(shards.classes))
    )

    assert difference(numbered, manifest) is None
    assert difference(replace(numbered, classes=(*numbered.classes, numbered.classes[0])), manifest) is not None
    only_train = replace(manifest, splits={"train": manifest.splits["train"]})
    assert difference(shards, only_train) is None


def test_a_root_of_shards_alone_has_nothing_to_compare(root: Path, tmp_path: Path) -> None:
    """Nor a root without shards."""
    assert stale_shards(tmp_path) is None
    (tmp_path / "shards").mkdir()
    write_document(tmp_path / "shards" / "manifest.json", read_shard_manifest(root / "shards"))
    assert stale_shards(tmp_path) is None

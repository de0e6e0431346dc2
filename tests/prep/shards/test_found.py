"""``shard --index-only`` on the shards of other tools: which split is which, and whose files lie next to them."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from feedline.cli.main import run
from feedline.prep import DatasetError, ShardManifest, index_shards, read_shard_manifest, verify
from feedline.prep.sources.naming import split_named


def image() -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((40, 30)).convert("RGB").save(out, "JPEG")
    return out.getvalue()


def write_shard(path: Path, labels: tuple[int, ...] = (0, 1)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for number, label in enumerate(labels):
            for name, data in ((f"{number}.jpg", image()), (f"{number}.cls", str(label).encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def shards_of(manifest: ShardManifest) -> dict[str, list[str]]:
    return {split: [shard.name for shard in held.shards] for split, held in manifest.splits.items()}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["birds-train-000000.tar", "birds-val-000000.tar"], {"train": 0, "val": 1}),
        (["train/00000.tar", "val/00000.tar"], {"train": 0, "val": 1}),
        (["a/Train/0.tar", "a/Validation/0.tar"], {"train": 0, "val": 1}),
        (["imagenet21k_train/x-0001.tar", "imagenet21k_val/x-0001.tar"], {"train": 0, "val": 1}),
        (["train2012-0-of-8.tar", "ILSVRC2012_img_val.0.tar"], {"train": 0, "val": 1}),
        (["my-val-set-train-000000.tar", "dev/1.tar"], {"train": 0, "val": 1}),
        (["trn_1.tar", "valid_1.tar"], {"train": 0, "val": 1}),
    ],
)
def test_the_split_comes_from_a_shards_name_or_its_folder(
    names: list[str], expected: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the spelling, splits in folders become one set that verify accepts."""
    for name in names:
        write_shard(tmp_path / "wds" / name)

    assert run(["shard", "--index-only", str(tmp_path / "wds")]) == 0
    assert "to load these, move" in " ".join(capsys.readouterr().err.split())
    manifest = read_shard_manifest(tmp_path / "wds")
    assert shards_of(manifest) == {split: [names[place]] for split, place in expected.items()}
    assert all(held.per_class == (1, 1) for held in manifest.splits.values())
    assert verify(tmp_path / "wds", decode=True).ok
    assert index_shards(tmp_path / "wds") == manifest


def test_the_folder_itself_states_the_split(tmp_path: Path) -> None:
    """The shards of val/ are validation data, also if val/ is indexed alone."""
    write_shard(tmp_path / "val" / "00000.tar")

    assert list(index_shards(tmp_path / "val").splits) == ["val"]


def test_a_name_without_a_split_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is taken for train and nothing is written until the option says it."""
    place = tmp_path / "cats"
    for name in ("00000.tar", "00001.tar", "b/1.tar"):
        write_shard(place / name)

    assert run(["shard", "--index-only", str(place)]) == 1
    error = capsys.readouterr().err
    assert "states no split in its name or folder" in error
    assert f"feedline shard --index-only {place} --split-from b=SPLIT --split-from cats=SPLIT" in " ".join(
        error.split()
    )
    assert sorted(path.suffix for path in place.iterdir()) == ["", ".tar", ".tar"]

    options = ["--split-from", "b=val", "--split-from", "cats=train"]
    assert run(["shard", "--index-only", str(place), *options]) == 0
    manifest = read_shard_manifest(place)
    assert (manifest.dataset, shards_of(manifest)) == (
        "cats",
        {"train": ["00000.tar", "00001.tar"], "val": ["b/1.tar"]},
    )


def test_shards_are_named_for_the_option_without_their_number(tmp_path: Path) -> None:
    """part-a-0001 and part-a-0002 need one option."""
    for name in ("part-a-0001.tar", "part-a-0002.tar", "part-b-0001.tar"):
        write_shard(tmp_path / name)

    with pytest.raises(DatasetError, match="--split-from part-a=SPLIT --split-from part-b=SPLIT"):
        index_shards(tmp_path)
    found = index_shards(tmp_path, split_from={"part-a": "train", "part-b": "val"})
    assert shards_of(found) == {"train": ["part-a-0001.tar", "part-a-0002.tar"], "val": ["part-b-0001.tar"]}


def test_contradictions_and_names_that_do_not_occur_are_refused(tmp_path: Path) -> None:
    """One sentence each."""
    write_shard(tmp_path / "val" / "x-train-0.tar")
    with pytest.raises(DatasetError, match=r"is train by its name and val by its folder; .* --split-from val=SPLIT"):
        index_shards(tmp_path)
    with pytest.raises(DatasetError, match=r"'nothing', but no shard or folder in .* is named so; use one of: val"):
        index_shards(tmp_path, split_from={"nothing": "val"})
    index_shards(tmp_path, split_from={"val": "val"})
    with pytest.raises(DatasetError, match="says already which shards are which split; leave --split-from out"):
        index_shards(tmp_path, split_from={"val": "train"})


@pytest.mark.parametrize(
    "options",
    [
        ["--index-only", "--split", "val"],
        ["--index-only", "--encode", "copy"],
        ["--index-only", "--seed", "1"],
        ["--index-only", "--name", "x"],
        ["--index-only", "--split-from", "val"],
        ["--index-only", "--split-from", "x=validation"],
        ["--split-from", "val"],
    ],
)
def test_an_option_that_would_be_ignored_is_wrong_usage(options: list[str], tmp_path: Path) -> None:
    """Exit code 2."""
    assert run(["shard", str(tmp_path), *options]) == 2


def test_shards_that_the_manifest_does_not_list_are_reported(tmp_path: Path) -> None:
    """A split that is copied next to an indexed one is not left out without a word."""
    write_shard(tmp_path / "train" / "0.tar")
    index_shards(tmp_path)
    write_shard(tmp_path / "val" / "0.tar")
    said: list[str] = []
    index_shards(tmp_path, notice=said.append)

    assert len(said) == 1 and "left out: 1 shards" in said[0] and "val/0.tar" in said[0]
    (tmp_path / "manifest.json").unlink()
    assert set(index_shards(tmp_path).splits) == {"train", "val"}


def test_a_root_a_file_and_a_set_of_its_own_are_refused_with_the_folder_to_give(root: Path, tmp_path: Path) -> None:
    """The next command is in the message."""
    with pytest.raises(DatasetError, match=f"is a file; give the folder of the shards: .*--index-only {tmp_path}"):
        index_shards(write_shard(tmp_path / "train-0.tar"))
    with pytest.raises(DatasetError, match="does not exist"):
        index_shards(tmp_path / "nowhere")
    shutil.copytree(root / "shards", tmp_path / "set" / "shards")
    with pytest.raises(DatasetError, match=rf"give that folder: feedline shard --index-only {tmp_path}/set/shards"):
        index_shards(tmp_path / "set")
    (tmp_path / "set" / "shards").rename(tmp_path / "set" / "other")
    with pytest.raises(DatasetError, match="is a shard set of its own"):
        index_shards(tmp_path / "set")
    assert not (tmp_path / "set" / "manifest.json").exists()


FOREIGN = {
    "_info.json": json.dumps({"splits": {"train": {"name": "train", "num_samples": 2}}, "license": "mine"}),
    "birds-train.json": json.dumps(
        {
            "__kind__": "wids-shard-index-v1",
            "wids_version": 1,
            "shardlist": [{"url": "s3://bucket/birds-train-0.tar", "nsamples": 2, "md5sum": "0"}],
        }
    ),
    "birds-train-0.idx": "0\t512\t1024\n",
}


@pytest.mark.parametrize("name", list(FOREIGN))
def test_a_file_of_another_tool_is_left_alone_and_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its extra keys and addresses; verify reports it as a note."""
    write_shard(tmp_path / "birds-train-0.tar")
    (tmp_path / name).write_text(FOREIGN[name])

    for _ in range(2):
        assert run(["shard", "--index-only", str(tmp_path)]) == 0
        said = " ".join(capsys.readouterr().err.split())
        assert f"left as it is: {tmp_path / name}, which feedline did not write" in said
        assert (tmp_path / name).read_text() == FOREIGN[name]
    found = verify(tmp_path)
    assert found.ok and len(found.strangers) == 1 and str(tmp_path / name) in found.strangers[0]


@pytest.mark.parametrize("extra", [{"url": "s3://bucket/x.tar"}, {"url": "/data/x.tar"}, {"md5sum": "0"}])
def test_an_edit_of_our_own_index_is_kept(extra: dict[str, str], tmp_path: Path) -> None:
    """An address or a key that the user added is not lost with the next run."""
    write_shard(tmp_path / "birds-train-0.tar")
    index_shards(tmp_path)
    path = tmp_path / "birds-train.json"
    value = json.loads(path.read_text())
    value["shardlist"][0] |= extra
    path.write_text(json.dumps(value, indent=1) + "\n")
    edited = path.read_bytes()
    index_shards(tmp_path)

    assert path.read_bytes() == edited


def test_our_own_index_of_other_shards_is_replaced(tmp_path: Path) -> None:
    """What feedline wrote for fewer shards is written again."""
    write_shard(tmp_path / "birds-train-0.tar")
    index_shards(tmp_path)
    (tmp_path / "manifest.json").unlink()
    write_shard(tmp_path / "birds-train-1.tar")
    index_shards(tmp_path)

    assert len(json.loads((tmp_path / "birds-train.json").read_text())["shardlist"]) == 2
    assert len(json.loads((tmp_path / "_info.json").read_text())["splits"]["train"]["filenames"]) == 2
    assert verify(tmp_path).ok and not verify(tmp_path).strangers


def test_a_foreign_file_in_the_place_of_our_index_is_refused_by_name(tmp_path: Path) -> None:
    """feedline needs that place, so the user moves the file."""
    write_shard(tmp_path / "train-0.tar")
    (tmp_path / "train-0.index").write_text("precious")

    with pytest.raises(DatasetError, match=r"train-0\.index was not written by feedline, .* move it to another folder"):
        index_shards(tmp_path)
    assert (tmp_path / "train-0.index").read_text() == "precious"
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("TRN", "train"),
        ("train.X1", "train"),
        ("train2012", "train"),
        ("valid", "val"),
        ("validation_256", "val"),
        ("ILSVRC2012_img_val", "val"),
        ("dev", "val"),
        ("testing set", "test"),
        ("trainval", None),
        ("interval", None),
        ("train-val", None),
        ("device", None),
        ("00000", None),
        ("", None),
    ],
)
def test_the_split_that_a_name_states(name: str, split: str | None) -> None:
    """Known spellings as whole words; none, or two, state nothing."""
    assert split_named(name) == split

"""Foreign shards in a root: nothing is written next to them, runs continue, and a shard that changed is an error."""

import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.loaders import LoaderSpec, open_loader, readable_loaders
from feedline.prep import (
    DatasetError,
    FeedlineError,
    LoaderError,
    OutputError,
    ShardManifest,
    index_shards,
    prepare_webdataset,
    read_shard_manifest,
    verify,
)

from ..foreign_shards import image, sample, write_img2dataset, write_tar, write_timm


@pytest.fixture
def wds(tmp_path: Path) -> Path:
    return write_timm(tmp_path / "wds")


@pytest.fixture
def data(wds: Path, tmp_path: Path) -> Path:
    prepare_webdataset([wds], tmp_path / "data")
    return tmp_path / "data"


def test_nothing_is_copied_or_written_next_to_the_shards(wds: Path, tmp_path: Path, listing) -> None:  # type: ignore[no-untyped-def]
    """ROOT/shards has the manifest and the indexes of each shard, and no leftover."""
    before = listing(wds)
    found = prepare_webdataset([wds], tmp_path / "data")
    verify(tmp_path / "data", decode=True)

    assert listing(wds) == before
    names = [shard.name[:-4] for held in found.splits.values() for shard in held.shards]
    expected = {"manifest.json", *(f"{name}{end}" for name in names for end in (".index", ".idx", ".jsonl"))}
    assert {path.name for path in (tmp_path / "data" / "shards").iterdir()} == expected
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["shards"]


def test_the_manifest_says_what_the_shards_are(wds: Path, data: Path) -> None:
    """Place, counts, bytes, sha256, classes and columns; an old manifest has none of the new fields."""
    found = read_shard_manifest(data / "shards")
    assert (found.place, found.label_from, found.dataset, found.encode) == (str(wds), "cls", "imagenet1k", "copy")
    assert {split: (held.samples, held.per_class) for split, held in found.splits.items()} == {
        "train": (12, (4, 4, 4)),
        "val": (12, (4, 4, 4)),
    }
    for shard in found.splits["val"].shards:
        path = wds / shard.name
        assert shard.bytes == path.stat().st_size and shard.modified == path.stat().st_mtime_ns
    assert found.splits["train"].columns == ("filename", "label", "height", "width")


def test_the_same_command_again_reads_nothing(wds: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so."""
    before = (data / "shards" / "manifest.json").read_bytes()
    said: list[str] = []
    monkeypatch.setattr("feedline.prep.foreign.prepare.index_shard", None)
    prepare_webdataset([wds], data, notice=said.append)
    assert (data / "shards" / "manifest.json").read_bytes() == before
    assert said[-1] == f"{data / 'shards'} is prepared already; nothing was read again"


def test_other_shards_or_labels_are_refused(wds: Path, data: Path, tmp_path: Path) -> None:
    """A set is not changed under its checkpoints."""
    for sources, options in (
        ([wds / "imagenet1k-train-0000.tar"], {}),
        ([wds], {"label_from": "json:label"}),
        ([write_timm(tmp_path / "others")], {}),
    ):
        with pytest.raises(OutputError, match=r"was prepared from other shards or labels \(imagenet1k, cls, 4 shards"):
            prepare_webdataset(sources, data, **options)  # type: ignore[arg-type]
    assert verify(data).ok


def test_a_run_that_stopped_goes_on(wds: Path, tmp_path: Path) -> None:
    """A damaged shard stops it; the others are not read again, and the result is that of one run."""
    from feedline.prep.foreign import prepare

    whole = prepare_webdataset([wds], tmp_path / "once")
    last = wds / "imagenet1k-validation-0001.tar"
    data, stat = last.read_bytes(), last.stat()
    last.write_bytes(data[:3000])
    with pytest.raises(FeedlineError, match="is truncated"):
        prepare_webdataset([wds], tmp_path / "data", workers=1)
    place = tmp_path / "data" / "shards"
    assert not (place / "manifest.json").exists() and (place / ".partial" / "job.json").is_file()
    for command in ("bench", "train"):
        assert run([command, str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 1

    last.write_bytes(data)
    os.utime(last, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    read: list[str] = []
    original = prepare.index_shard

    def counted(path: Path, *arguments: object, **options: object) -> object:
        read.append(path.name)
        return original(path, *arguments, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "index_shard", counted)
        assert prepare_webdataset([wds], tmp_path / "data") == whole
    assert read == [last.name] and verify(tmp_path / "data").ok
    for path in place.iterdir():
        assert path.read_bytes() == (tmp_path / "once" / "shards" / path.name).read_bytes()


def test_a_shard_that_changed_between_two_runs_is_read_again(wds: Path, tmp_path: Path) -> None:
    """A note is used only for the shard that it was written of."""
    last = wds / "imagenet1k-validation-0001.tar"
    data = last.read_bytes()
    last.write_bytes(data[:3000])
    with pytest.raises(FeedlineError, match="is truncated"):
        prepare_webdataset([wds], tmp_path / "data", workers=1)
    write_tar(wds / "imagenet1k-train-0000.tar", sample("new", {"jpg": image(5), "cls": "1"}))
    last.write_bytes(data)
    found = prepare_webdataset([wds], tmp_path / "data")
    assert found.splits["train"].samples == 7 and verify(tmp_path / "data").ok


def test_a_run_that_stopped_can_go_on_with_other_shards_or_labels(wds: Path, tmp_path: Path) -> None:
    """The user leaves the damaged shard out, or the label that was wrong; only other labels are read again."""
    last, said = wds / "imagenet1k-validation-0001.tar", list[str]()
    last.write_bytes(last.read_bytes()[:3000])
    for label_from, told in ((None, 0), ("json:label", 1)):
        with pytest.raises(FeedlineError, match="is truncated"):
            prepare_webdataset([wds], tmp_path / "data", label_from=label_from, workers=1, notice=said.append)
        assert sum("all shards are read again" in line for line in said) == told
    found = prepare_webdataset(
        [wds / "imagenet1k-train-*.tar"], tmp_path / "data", label_from="json:label", notice=said.append
    )
    assert sum("all shards are read again" in line for line in said) == 1
    assert set(found.splits) == {"train"} and verify(tmp_path / "data").ok


def test_a_folder_with_other_files_is_not_written_to(wds: Path, tmp_path: Path) -> None:
    """It is named."""
    (tmp_path / "other" / "shards").mkdir(parents=True)
    (tmp_path / "other" / "shards" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something else"):
        prepare_webdataset([wds / "imagenet1k-train-0000.tar"], tmp_path / "other")


def problems(data: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the sentence of each command that opens the shards."""
    found: list[str] = []
    for loader in ("threaded", "webdataset"):
        with pytest.raises(LoaderError) as error:
            open_loader(loader, LoaderSpec(root=data))
        found.append(str(error.value))
    with pytest.raises(LoaderError) as error:
        readable_loaders(data)
    found.append(str(error.value))
    found.append(verify(data).problems[-1])
    assert run(["doctor", str(data), "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)["findings"]
    found += [f"{each['found']}; {each['mend']}" for each in checks if each["subject"] == "shards"]
    assert len(found) == 5
    return found


def test_a_shard_that_moved_is_an_error(wds: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one sentence with the shard, in loaders, doctor and verify."""
    wds.rename(wds.with_name("elsewhere"))
    for said in problems(data, capsys):
        assert said.startswith(f"cannot read {wds / 'imagenet1k-train-0000.tar'}, a shard of {data / 'shards'}")
        assert said.endswith(f"feedline prep webdataset SOURCE --out {data}")


def test_a_shard_of_another_size_is_an_error(wds: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the command that prepares the set again."""
    path = wds / "imagenet1k-validation-0001.tar"
    path.write_bytes(path.read_bytes() + bytes(10240))
    for said in problems(data, capsys):
        assert said.startswith(f"{path} has {path.stat().st_size} bytes and had")
        assert said.endswith(f"run: feedline prep webdataset {wds} --out {data}")
    with pytest.raises(DatasetError, match=r"is not the shard of .*; copy it again, or move .* away, which holds no"):
        index_shards(data / "shards")


def test_a_shard_that_was_written_again_is_compared(wds: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same content is accepted by --index-only; another one of the same size is not."""
    path = wds / "imagenet1k-validation-0001.tar"
    os.utime(path, (1, 1))
    for said in problems(data, capsys):
        assert said == (
            f"{path} was written again after it was prepared; "
            f"compare its content with: feedline shard --index-only {data / 'shards'}"
        )
    assert run(["shard", "--index-only", str(data / "shards")]) == 0
    assert verify(data).ok and readable_loaders(data)

    content = bytearray(path.read_bytes())
    content[content.index(b"\xff\xd8\xff") + 30] ^= 1
    path.write_bytes(content)
    assert run(["shard", "--index-only", str(data / "shards")]) == 1
    assert any("has another sha256 than the manifest" in problem for problem in verify(data).problems)


@pytest.mark.parametrize("end", [".index", ".jsonl", ".idx"])
def test_a_lost_index_is_made_again(end: str, data: Path) -> None:
    """By the command that verify names; the bytes are the same."""
    path = data / "shards" / f"imagenet1k-train-0001{end}"
    before = path.read_bytes()
    path.unlink()
    (problem,) = verify(data).problems
    assert f"feedline shard --index-only {data / 'shards'}" in problem
    index_shards(data / "shards")
    assert path.read_bytes() == before and verify(data).ok


@pytest.mark.parametrize(
    ("field", "value"),
    [("place", ""), ("place", "a\0b"), ("place", 5), ("label_from", "exec:x"), ("image_extension", 3)],
)
def test_a_hostile_manifest_is_refused(field: str, value: object, data: Path) -> None:
    """One sentence."""
    path = data / "shards" / "manifest.json"
    document = json.loads(path.read_text("utf-8"))
    document[field] = value
    path.write_text(json.dumps(document), "utf-8")
    with pytest.raises(FeedlineError):
        open_loader("webdataset", LoaderSpec(root=data))
    with pytest.raises(FeedlineError):
        verify(data)


def test_a_manifest_without_the_new_fields_is_read(root: Path) -> None:
    """Those of feedline's own shards, as version 0.1 wrote them."""
    document = json.loads((root / "shards" / "manifest.json").read_text("utf-8"))
    for name in ("place", "label_from", "image_extension"):
        document.pop(name)
    for held in document["splits"].values():
        held.pop("labelled")
        for shard in held["shards"]:
            shard.pop("modified")
    copy = Path(shutil.copytree(root, root.with_name("old")))
    try:
        (copy / "shards" / "manifest.json").write_text(json.dumps(document), "utf-8")
        assert isinstance(read_shard_manifest(copy / "shards"), ShardManifest) and verify(copy / "shards").ok
    finally:
        shutil.rmtree(copy)


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({"input.jpg": image(1), "mask.png": image(2, "png")}, {}, "--image-extension input.jpg or --image-extension"),
        ({"jpg": image(1), "jpeg": image(1)}, {}, "say which is the image of a sample"),
        ({"txt": "no image"}, {}, r"has \.txt, \.cls, and none is an image"),
        ({"jpg": image(1)}, {"image_extension": "input.jpg"}, "say which is the image of a sample: .* jpg"),
        ({"jpg": b""}, {}, "has 0 bytes, no image"),
    ],
)
def test_a_sample_needs_one_image(
    files: dict[str, object], options: dict[str, str], message: str, tmp_path: Path
) -> None:
    """Else the user is asked, or the sample is named."""
    write_tar(tmp_path / "wds" / "train-0.tar", sample("a", {**files, "cls": "0"}))
    with pytest.raises(FeedlineError, match=message):
        prepare_webdataset([tmp_path / "wds"], tmp_path / "data", **options)  # type: ignore[arg-type]


def test_a_later_sample_without_an_image_is_refused(tmp_path: Path) -> None:
    """It is named with its members; nothing looks finished."""
    members = [*sample("a", {"jpg": image(1), "cls": "0"}), *sample("b", {"txt": "text only", "cls": "0"})]
    write_tar(tmp_path / "wds" / "train-0.tar", members)
    with pytest.raises(DatasetError, match=r"the sample 'b' has \.txt, \.cls, and needs one image .*without such"):
        prepare_webdataset([tmp_path / "wds"], tmp_path / "data")
    assert not (tmp_path / "data" / "shards" / "manifest.json").exists()


def test_empty_shards_and_splits(tmp_path: Path) -> None:
    """A shard without samples is one of its split; a split without samples is refused."""
    write_tar(tmp_path / "wds" / "train-0.tar", sample("a", {"jpg": image(1), "cls": "0"}))
    with tarfile.open(tmp_path / "wds" / "train-1.tar", "w"):
        pass
    assert prepare_webdataset([tmp_path / "wds"], tmp_path / "data").splits["train"].samples == 1
    shutil.copy(tmp_path / "wds" / "train-1.tar", tmp_path / "wds" / "val-0.tar")
    with pytest.raises(DatasetError, match=r"the shards of val in .* hold no sample; leave them out"):
        prepare_webdataset([tmp_path / "wds"], tmp_path / "other")


def test_columns_of_shards_with_and_without_values(tmp_path: Path) -> None:
    """Keys of .json and .txt are columns; a shard without any has empty lines, and verify agrees."""
    place = write_img2dataset(tmp_path / "train")
    found = prepare_webdataset([place], tmp_path / "data", label_from="json:kind")
    assert found.splits["train"].columns[-2:] == ("tags", "txt")

    write_tar(tmp_path / "few" / "train-0.tar", sample("x", {"jpg": image(1), "cls": "0"}))
    write_tar(tmp_path / "few" / "train-1.tar", sample("y", {"jpg": image(1), "cls": "0", "txt": "a cat"}))
    found = prepare_webdataset([tmp_path / "few"], tmp_path / "other")
    assert found.splits["train"].columns == ("txt",) and verify(tmp_path / "other").ok
    lines = [(tmp_path / "other" / "shards" / f"train-{n}.jsonl").read_text("utf-8") for n in (0, 1)]
    assert lines == ['{"__key__": "x"}\n', '{"__key__": "y", "txt": "a cat"}\n']


def test_a_plain_extension_comes_before_longer_ones(tmp_path: Path) -> None:
    """A mask next to the image is no question."""
    files = {"seg.png": image(2, "png"), "jpg": image(1), "depth.png": image(3, "png"), "cls": "0"}
    write_tar(tmp_path / "wds" / "train-0.tar", sample("a", files))
    prepare_webdataset([tmp_path / "wds"], tmp_path / "data")
    (loaded,) = open_loader("webdataset", LoaderSpec(root=tmp_path / "data", image_size=16, transform="eval"))
    (other,) = open_loader("threaded", LoaderSpec(root=tmp_path / "data", image_size=16, transform="eval"))
    assert verify(tmp_path / "data", decode=True).ok and abs(loaded.images.int() - other.images.int()).max() <= 2

"""The columns of shards: in each sample's .json and in a file of lines that is made again from it."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from feedline.cli.main import run
from feedline.prep import DatasetError, OutputError, ShardSpec, index_shards, read_shard_manifest, verify, write_shards
from feedline.prep.roots.lists import list_path
from feedline.prep.shards.columns import KEY

from ..column_roots import NAMES, add_columns
from .test_index import image, write_tar

pytestmark = pytest.mark.filterwarnings("ignore:.*(EXIF|[Tt]ag):UserWarning")


def members(shards: Path, split: str) -> dict[str, dict[str, Any]]:
    """Return {key: the sample's .json} of all shards of a split."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(shards.glob(f"*-{split}-*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    held = tar.extractfile(member)
                    found[member.name.removesuffix(".json")] = json.loads(held.read() if held else b"")
    return found


def lines(shards: Path, split: str) -> dict[str, dict[str, Any]]:
    paths = sorted(shards.glob(f"*-{split}-*.jsonl"))
    rows = [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]
    return {row.pop(KEY): row for row in rows}


@pytest.mark.parametrize("order", ["shuffled", "two-level"])
def test_shards_keep_the_columns(order: str, folders: Path) -> None:
    """In the .json, next to feedline's own values that no column replaces, and in the file of lines."""
    columns = add_columns(folders)
    write_shards(folders, ShardSpec(order=order, encode="copy"))  # type: ignore[arg-type]

    shards = folders / "shards"
    manifest = read_shard_manifest(shards)
    assert {split: held.columns for split, held in manifest.splits.items()} == dict.fromkeys(columns, NAMES)
    for split, rows in columns.items():
        expected = {row["caption"].partition(":")[0].removesuffix(".JPEG"): row for row in rows}
        assert lines(shards, split) == expected
        for key, about in members(shards, split).items():
            assert {name: about[name] for name in NAMES} == expected[key]
            assert tuple(about) == (*NAMES, "width", "height", "name")
    assert verify(shards).ok and verify(folders).ok


def test_without_metadata_the_json_holds_the_columns_alone(folders: Path) -> None:
    """So that they can be restored from the tar."""
    columns = add_columns(folders)
    write_shards(folders, ShardSpec(metadata=False, encode="copy", splits=("val",)))

    assert sorted(members(folders / "shards", "val").values(), key=str) == sorted(columns["val"], key=str)


def test_a_lost_or_changed_file_of_columns_is_found_and_made_again(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By verify, which names the command; the same bytes."""
    add_columns(folders)
    write_shards(folders, ShardSpec(encode="copy"))
    shards = folders / "shards"
    paths = sorted(shards.glob("*.jsonl"))
    before = [path.read_bytes() for path in paths]
    paths[0].unlink()
    paths[1].write_bytes(before[1].replace(b"caption", b"Caption", 1))

    problems = verify(shards).problems
    assert [problem.partition(" ")[0] for problem in problems] == [str(path) for path in paths[:2]]
    assert all(f"feedline shard --index-only {shards}" in problem for problem in problems)
    assert verify(paths[0].with_suffix(".tar")).problems == problems[:1]
    assert run(["shard", "--index-only", str(shards)]) == 0
    assert [path.read_bytes() for path in paths] == before
    assert verify(shards).ok

    paths[0].write_bytes(b"notes of the user\n")
    assert run(["shard", "--index-only", str(shards)]) == 1
    assert "was not written by feedline, and feedline's file of columns must lie there" in " ".join(
        capsys.readouterr().err.split()
    )
    assert paths[0].read_bytes() == b"notes of the user\n"


def test_shards_without_columns_have_no_such_file(root: Path) -> None:
    """And their manifest names none."""
    assert not list((root / "shards").glob("*.jsonl"))
    assert all(held.columns == () for held in read_shard_manifest(root / "shards").splits.values())


def test_an_interrupted_run_goes_on_and_other_columns_are_refused(folders: Path) -> None:
    """A finished set is returned as it is, until its root has other columns."""
    add_columns(folders)
    manifest = write_shards(folders, ShardSpec(encode="copy"))
    assert write_shards(folders, ShardSpec(encode="copy")) == manifest
    document = folders / "manifest.json"
    document.write_text(document.read_text("utf-8").replace('"boxes"', '"masks"'), "utf-8")
    with pytest.raises(OutputError, match="holds other shards"):
        write_shards(folders, ShardSpec(encode="copy"))


def test_a_list_that_changes_while_it_is_read_is_an_error(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line must still name its image."""
    from feedline.prep.shards.writing import write

    add_columns(folders)
    path, before = list_path(folders, "train"), write.with_keys

    def change(*given: Any) -> Any:
        path.write_bytes(b"".join(reversed(path.read_bytes().splitlines(keepends=True))))
        return before(*given)

    monkeypatch.setattr(write, "with_keys", change)
    with pytest.raises(DatasetError, match=r"cannot read the columns of .*restore the file"):
        write_shards(folders, ShardSpec(encode="copy", splits=("train",)))
    assert not (folders / "shards" / "manifest.json").exists()


def test_the_json_of_other_tools_becomes_columns(tmp_path: Path) -> None:
    """Its keys, a .txt, and a .json that is no object; a shard without any has a file of empty lines."""
    first: list[tuple[str, bytes]] = []
    for number, about in enumerate(
        [b'{"key": "000", "caption": "a", "width": 9, "__key__": 1}', b'{"caption": "b", "sha256": null}', b"[1, 2]"]
    ):
        first += [(f"{number}.jpg", image()), (f"{number}.cls", b"0"), (f"{number}.json", about)]
    first += [("3.jpg", image()), ("3.cls", b"1"), ("3.txt", "é\n".encode())]
    write_tar(tmp_path / "x-train-0.tar", first)
    write_tar(tmp_path / "x-train-1.tar", [("9.jpg", image()), ("9.cls", b"0")])
    write_tar(tmp_path / "x-val-0.tar", [("9.jpg", image()), ("9.cls", b"0")])

    manifest = index_shards(tmp_path)
    assert manifest.splits["train"].columns == ("key", "caption", "width", "sha256", "json", "txt")
    assert manifest.splits["val"].columns == ()
    assert lines(tmp_path, "train") == {
        "0": {"key": "000", "caption": "a", "width": 9},
        "1": {"caption": "b", "sha256": None},
        "2": {"json": [1, 2]},
        "3": {"txt": "é\n"},
        "9": {},
    }
    assert not (tmp_path / "x-val-0.jsonl").exists()
    assert verify(tmp_path).ok
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")}
    assert index_shards(tmp_path) == manifest
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")} == before


def test_feedlines_own_values_are_no_columns(root: Path, tmp_path: Path) -> None:
    """If shards without columns lose their manifest."""
    for path in (root / "shards").glob("*.tar"):
        (tmp_path / path.name).write_bytes(path.read_bytes())

    assert all(held.columns == () for held in index_shards(tmp_path).splits.values())
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (b'{"a": ', "has a .json that is damaged"),
        (b"[" * 100_000, "has a .json that is damaged"),
        (json.dumps({str(key): 0 for key in range(1001)}).encode(), "more than 1000 different keys, such as '0'"),
    ],
)
def test_a_json_that_is_no_row_of_a_table_is_refused(about: bytes, message: str, tmp_path: Path) -> None:
    """One sentence, and no manifest."""
    write_tar(tmp_path / "x-train-0.tar", [("0.jpg", image()), ("0.cls", b"0"), ("0.json", about)])
    with pytest.raises(DatasetError, match=message):
        index_shards(tmp_path)
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.slow
def test_ray_writes_the_same_columns(folders: Path, tmp_path: Path) -> None:
    """Byte for byte."""
    ray: Any = pytest.importorskip("ray", reason="Ray is not installed; pip install 'feedline[ray]'")
    add_columns(folders)
    ray.init(num_cpus=2, log_to_driver=False, logging_level="ERROR")
    try:
        for engine in ("local", "ray"):
            write_shards(folders, ShardSpec(encode="copy"), out=tmp_path / engine, engine=engine)  # type: ignore[arg-type]
    finally:
        ray.shutdown()
    found = [{path.name: path.read_bytes() for path in (tmp_path / e).iterdir()} for e in ("local", "ray")]
    assert found[0] == found[1] and any(name.endswith(".jsonl") for name in found[0])

"""A folder of shards, one shard or a file, given to commands that take a root: it works, or what to give is named."""

import shutil
import tarfile
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import verify


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Run a command and return its exit code and its messages on one line."""

    def call(*arguments: object) -> tuple[int, str]:
        code = run([str(argument) for argument in arguments])
        return code, " ".join(capsys.readouterr().err.split())

    return call


@pytest.fixture
def shards(root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(root / "shards", tmp_path / "only" / "shards"))


COMMANDS = [
    ("bench", "--out", "OUT"),
    ("train", "--out", "OUT", "--epochs", "1", "--device", "cpu"),
    ("train", "--out", "OUT", "--epochs", "1", "--device", "cpu", "--loader", "threaded"),
    ("bench", "--out", "OUT", "--train"),
    ("diagnose", "--out", "OUT"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_folder_of_shards_is_refused_with_the_root_to_give(
    command: tuple[str, ...], shards: Path, tmp_path: Path, said
) -> None:  # type: ignore[no-untyped-def]
    """Right after --index-only, whatever its name; nothing is blamed on the manifest."""
    name, *options = (str(tmp_path / "out") if part == "OUT" else part for part in command)
    assert said("shard", "--index-only", shards)[0] == 0
    code, error = said(name, shards, *options)
    assert code == 1 and f"{shards} is a folder of shards; give the root that holds it: {shards.parent}" in error

    shards.rename(tmp_path / "wds")
    code, error = said(name, tmp_path / "wds", *options)
    assert code == 1 and f"make a folder ROOT, move {tmp_path / 'wds'} to ROOT/shards, and give ROOT" in error


def test_shards_without_a_manifest_are_not_sent_to_prep(shards: Path, tmp_path: Path, said) -> None:  # type: ignore[no-untyped-def]
    """The command that indexes them is named."""
    (shards / "manifest.json").unlink()
    for path, place in ((shards.parent, shards), (shards, shards)):
        code, error = said("bench", path, "--out", tmp_path / "out")
        assert code == 1 and f"if {place} holds shards, index them: feedline shard --index-only {place}" in error
    code, error = said("verify", shards)
    assert code == 1 and f"feedline shard --index-only {shards}" in error


def test_verify_of_a_root_with_nothing_but_shards_checks_them(shards: Path) -> None:
    """It is no unfinished root."""
    found = verify(shards.parent)

    assert found.ok and found.splits["train"]["images"] == 84


def test_verify_of_one_shard(shards: Path, said) -> None:  # type: ignore[no-untyped-def]
    """Against the manifest next to it, with its indexes; damage is found."""
    path = min(shards.glob("*-val-*.tar"))
    code, error = said("verify", path)
    assert code == 0 and "val: " in error and f"{path} is complete and undamaged" in error
    with path.open("r+b") as file:
        file.seek(700)
        file.write(b"\xaa")
    code, error = said("verify", path)
    assert code == 1 and f"{path} has another sha256 than the manifest" in error
    path.write_bytes(path.read_bytes()[:1500])
    assert f"{path} is truncated" in said("verify", path)[1]


def test_verify_of_one_shard_without_a_manifest(shards: Path, said) -> None:  # type: ignore[no-untyped-def]
    """Its samples and its index; a missing index is named with the command."""
    (shards / "manifest.json").unlink()
    path = min(shards.glob("*-val-*.tar"))
    assert said("verify", path)[0] == 0
    path.with_suffix(".index").unlink()
    code, error = said("verify", path)
    assert code == 1 and f"feedline shard --index-only {shards}" in error


def test_verify_of_another_file_says_what_to_give(archives: Path, shards: Path, tmp_path: Path, said) -> None:  # type: ignore[no-untyped-def]
    """An archive is prepared, an index is no shard, and a shard that the manifest lacks is not called damaged."""
    code, error = said("verify", archives / "ILSVRC2012_img_val.tar")
    assert code == 1 and "is no shard of feedline" in error and "feedline prep imagenet" in error
    code, error = said("verify", min(shards.glob("*.index")))
    assert code == 1 and "give a prepared root, a folder of shards or one shard" in error
    shutil.copy(min(shards.glob("*.tar")), shards / "more-train-0.tar")
    code, error = said("verify", shards / "more-train-0.tar")
    assert code == 1 and "does not list more-train-0.tar" in error
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    assert "does not exist" not in said("verify", tmp_path / "empty.tar")[1]
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe damaged")
    assert said("verify", tmp_path)[0] == 1

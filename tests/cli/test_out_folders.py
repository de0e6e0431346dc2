"""Results do not go into a data set, and no message advises to delete a folder of the user."""

import shutil
from pathlib import Path

import pytest

from feedline.cli.main import run as feedline


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("command", ["train", "bench", "bench --train", "diagnose", "compare"])
def test_results_do_not_go_into_a_data_set(
    command: str, shards: bool, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither into its root nor into its shards: refused before anything is read or written."""
    data = tmp_path / "data"
    shutil.copytree(root, data)
    before = sorted(data.rglob("*"))
    out = data / "shards" if shards else data
    file = tmp_path / "a.pt"
    file.touch()
    files = [str(file)] * 2 if command == "compare" else []
    assert feedline([*command.split(), *files, str(data), "--out", str(out)]) == 2
    assert f"{out} is the folder of a data set; choose another --out" in " ".join(capsys.readouterr().err.split())
    assert sorted(data.rglob("*")) == before


@pytest.mark.parametrize("out", ["", ".", "full"])
def test_a_folder_of_the_user_is_not_to_be_deleted(
    out: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    words = ["--loader", "imagefolder", "--workers", "0", "--image-size", "32", "--stem", "imagenet", "--device", "cpu"]
    assert feedline(["train", str(root), "--out", out, *words]) == 1
    told = capsys.readouterr().err
    assert "is not empty; choose another --out" in told
    assert "delete" not in told

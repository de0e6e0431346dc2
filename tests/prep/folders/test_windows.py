"""Windows is a first-class user: long paths, code pages, case, virus scanners, clusters - checked on any system."""

import ctypes
import errno
import ntpath
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import SimpleNamespace
from typing import Any

import pytest

from feedline.cli.main import run
from feedline.prep import (
    SourceError,
    index_shards,
    prepare_imagenet,
    verify,
    write_atomically,
    write_shards,
)
from feedline.prep.base.output import _windows_cluster_size  # pyright: ignore[reportPrivateUsage]
from feedline.prep.base.paths import below, extended, reachable
from feedline.prep.base.retries import put_in_place
from feedline.prep.sources.naming import place, safe_path

from ..trees import VAL

WINDOWS: Any = SimpleNamespace(platform="win32")
LINUX: Any = SimpleNamespace(platform="linux")


def test_long_paths_get_the_prefix() -> None:
    """Only long ones, so that messages stay readable; drives and network shares each in their own form."""
    deep = "\\".join(["a-rather-long-folder-name"] * 8)

    assert extended("C:\\data\\imagenet") == "C:\\data\\imagenet"
    assert extended(f"C:/data/{deep}") == f"\\\\?\\C:\\data\\{deep}"
    assert extended(f"\\\\server\\share\\{deep}") == f"\\\\?\\UNC\\server\\share\\{deep}"
    assert extended(extended(f"C:\\data\\{deep}")) == f"\\\\?\\C:\\data\\{deep}"
    assert ntpath.isabs(extended(f"C:\\{deep}"))
    assert extended(f"C:\\here\\..\\.\\data/{deep}") == f"\\\\?\\C:\\data\\{deep}"


def test_behind_the_prefix_there_are_no_slashes() -> None:
    """It switches off their interpretation: an image's name with one would be refused as invalid."""
    folder = PureWindowsPath("\\\\?\\C:\\deep\\.partial\\piece-0001")

    assert below(folder, "val/n01440764/x.JPEG") == f"{folder}\\val\\n01440764\\x.JPEG"
    assert below(PurePosixPath("/data"), "val/n01440764/x.JPEG") == "/data/val/n01440764/x.JPEG"


def test_a_deep_root_is_prepared_sharded_and_verified(archives: Path, tmp_path: Path) -> None:
    """More than Windows' 260 characters: both kinds of archives, a prepared root, its shards and their indexes."""
    deep = tmp_path.joinpath(*["a-rather-long-folder-name"] * 12)
    prepare_imagenet([archives], deep)
    write_shards(deep)
    index_shards(deep / "shards")

    assert len(str(deep)) > 300 and verify(deep).ok and verify(deep / "shards").ok


def test_the_longest_path_without_prefix_still_fits() -> None:
    """A root just short of the prefix, and the longest thing that is written below it, stay under 260 characters."""
    root = "C:\\" + "x" * (159 - 3)
    below = "\\.partial\\train\\n01440764\\n01440764_12345678.JPEG"

    assert extended(root) == root and len(root + below) < 260 and extended(root + "x") != root + "x"


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows paths do change")
def test_other_systems_keep_their_paths() -> None:
    """The prefix is Windows' alone."""
    path = Path("/data") / ("x" * 200)

    assert reachable(path) == path


@pytest.mark.parametrize("code_page", ["cp1252", "cp936", "ascii"])
def test_no_code_page_stops_the_work(archives: Path, tmp_path: Path, code_page: str) -> None:
    """Bars, messages, Chinese paths and names on consoles that cannot show them; results are the same."""
    names = tmp_path / "names.txt"
    names.write_text("n01440764\t丁鱥\n", "utf-8")
    out = tmp_path / "数据 données"
    environment = {**os.environ, "PYTHONIOENCODING": code_page, "PYTHONUTF8": "0"}
    commands = (
        ["prep", "imagenet", str(archives), "--out", str(out), "--names-file", str(names), "--json"],
        ["verify", str(out), "--json"],
    )
    for command in commands:
        code = "import sys; from feedline.cli.main import run; sys.exit(run(sys.argv[1:]))"
        done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, env=environment, timeout=120)
        assert done.returncode == 0, done.stderr
        assert done.stdout.isascii() and b"Error" not in done.stderr
    damaged = tmp_path / "损坏.tar"
    damaged.write_bytes(b"\1x" * 1000)
    done = subprocess.run(
        [sys.executable, "-c", code, "prep", "imagenet", str(damaged), "--out", str(tmp_path / "o")],
        capture_output=True,
        env=environment,
        timeout=120,
    )
    assert done.returncode == 1 and b"no tar header" in done.stderr and b"Traceback" not in done.stderr


def test_a_case_insensitive_disk_loses_nothing(archives: Path, tmp_path: Path) -> None:
    """Folders may be called Train or VAL; two names that differ only in case are refused on every system."""
    prepare_imagenet([archives], tmp_path / "data", splits=["train", "val"])
    for split in ("train", "val"):
        (tmp_path / "data" / split).rename(tmp_path / "data" / split.title())
    (tmp_path / "data/manifest.json").unlink()

    manifest = prepare_imagenet([tmp_path / "data"], tmp_path / "out")
    assert set(manifest.splits) == {"train", "val"} and verify(tmp_path / "out").ok

    image = next((tmp_path / "data/Train").rglob("*.JPEG"))
    with zipfile.ZipFile(tmp_path / "clash.zip", "w") as archive:  # a folder cannot hold both on such a disk
        for name in ("Image.JPEG", "image.jpeg"):
            archive.write(image, f"train/{image.parent.name}/{name}")
    with pytest.raises(SourceError, match="comes twice"):
        prepare_imagenet([tmp_path / "clash.zip"], tmp_path / "clash")


@pytest.mark.parametrize(
    "name",
    ["a\\b.JPEG", "C:x.JPEG", "x.JPEG:s", "aux", "AUX.JPEG", "d /x.JPEG", "d./x.JPEG", "a?b", "a*b", "a|b", "com1.x"],
)
def test_names_that_mean_something_else_on_windows_are_refused(name: str) -> None:
    """Whatever PureWindowsPath would read as a drive, stream, device or other name."""
    with pytest.raises(SourceError, match="not a plain relative path"):
        safe_path(name, "it")


def test_upper_case_extensions_count(tmp_path: Path) -> None:
    """ImageNet says .JPEG, cameras .JPG, ImageNet-V2 .jpeg; tools that match one of them lose the others."""
    for suffix in ("JPEG", "jpeg", "JPG", "jpg", "png", "PNG"):
        found = place(f"train/n01440764/x.{suffix}", "it")
        assert found and found.name == f"x.{suffix}"
    assert place("train/n01440764/Thumbs.db", "it") is None
    assert place("__MACOSX/train/n01440764/._x.JPEG", "it") is None


@pytest.mark.parametrize("put", ["a rename", "a document"])
def test_a_rename_waits_for_the_virus_scanner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: str) -> None:
    """A scanner that holds a new file open makes Windows refuse its rename for a moment: images, checkpoints, all."""
    (tmp_path / "a").write_text("x")
    replace, tries = Path.replace, list[int]()

    def held(self: Path, target: Path) -> Path:
        tries.append(1)
        if len(tries) < 3:
            raise PermissionError(13, "held by another process")
        return replace(self, target)

    def act() -> None:
        if put == "a rename":
            put_in_place(tmp_path / "a", tmp_path / "b")
        else:
            write_atomically(tmp_path / "b", b"x")

    monkeypatch.setattr(Path, "replace", held)
    monkeypatch.setattr("feedline.prep.base.retries.sys", LINUX)
    with pytest.raises(PermissionError):  # there it is a real refusal
        act()
    monkeypatch.setattr("feedline.prep.base.retries.sys", WINDOWS)
    act()

    assert len(tries) == 3 and (tmp_path / "b").read_text() == "x"


def test_a_finished_root_waits_for_the_virus_scanner(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours of work must not end as a failure because a scanner looks into what is cleared away at the end."""
    remove, tries = shutil.rmtree, list[int]()

    def held(path: Path) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OSError(errno.ENOTEMPTY, "The directory is not empty")
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", held)
    monkeypatch.setattr("feedline.prep.base.retries.sys", WINDOWS)
    prepare_imagenet([archives / VAL], tmp_path / "out")

    assert len(tries) == 3 and not (tmp_path / "out/.partial").exists()


def test_windows_cluster_size_is_asked_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """128 KiB on a big exFAT disk means 84 GB lost for ImageNet; a disk that does not answer counts as NTFS."""

    def answer(_root: Any, sectors: Any, size: Any, *_rest: Any) -> int:
        sectors._obj.value, size._obj.value = 256, 512
        return 1

    def windll(ask: Any) -> Any:
        return SimpleNamespace(kernel32=SimpleNamespace(GetDiskFreeSpaceW=ask))

    monkeypatch.setattr(ctypes, "windll", windll(answer), raising=False)
    assert _windows_cluster_size(tmp_path) == 128 * 1024
    monkeypatch.setattr(ctypes, "windll", windll(lambda *_: 0), raising=False)
    assert _windows_cluster_size(tmp_path) == 4096


def test_windows_users_hear_about_the_virus_scanner(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is what slows writing a million files most, and only the user can exclude the folder."""
    monkeypatch.setattr("feedline.cli.prep.shared.sys", WINDOWS)

    assert run(["prep", "imagenet", str(archives / VAL), "--out", str(tmp_path / "out")]) == 0
    assert f"exclude {tmp_path / 'out'} from your antivirus" in capsys.readouterr().err.replace("\n", "")

"""Tars compressed by gzip, bzip2, xz and zstd: read by their first bytes; damage is named, whatever finds it."""

import bz2
import gzip
import lzma
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from feedline.prep import SourceError
from feedline.prep.archives.compressed import compression_of, open_tar
from feedline.prep.archives.tar import read_member

from ..trees import Files, tar_of

FILES = {f"n01440764_{i}.JPEG": bytes([i]) * (7000 * i) for i in range(1, 7)}
PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


def read(path: Path) -> Files:
    with open_tar(path) as (file, members):
        return {member.name: read_member(file, member, "it") for member in members}


@pytest.mark.parametrize("kind", PACK)
def test_the_first_bytes_say_the_compression(tmp_path: Path, kind: str) -> None:
    """The name does not count: ImageNet-V2's .tar.gz are plain."""
    path = tmp_path / "x.tar.gz"
    path.write_bytes(PACK[kind](tar_of(FILES)))
    assert compression_of(path) == kind and read(path) == FILES
    path.write_bytes(tar_of(FILES))
    assert compression_of(path) is None and read(path) == FILES


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damage_is_a_sentence(tmp_path: Path, kind: str, damage: str) -> None:
    """Each module has errors of its own; bzip2's is a plain OSError."""
    path = tmp_path / "x.tar"
    data = bytearray(PACK[kind](tar_of({"x.JPEG": bytes(range(256)) * 400, **FILES})))
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2] ^= 0xFF
        data[len(data) // 2 + 1] ^= 0xFF
    path.write_bytes(data)

    with pytest.raises(SourceError, match=r"x\.tar (is damaged|is truncated|has no tar header)"):
        read(path)


def test_errors_of_the_disk_stay_what_they_are(tmp_path: Path) -> None:
    """A disk that fails is no damaged archive."""
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(tar_of(FILES)))
    with pytest.raises(OSError, match="No space left"), open_tar(path):
        raise OSError(28, "No space left on device")


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python has zstd")
def test_zstd_without_its_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named, and no traceback is shown."""
    monkeypatch.setitem(sys.modules, "zstandard", None)
    path = tmp_path / "x.tar.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    with pytest.raises(SourceError, match=r"pip install 'feedline\[zstd\]'"):
        read(path)

"""The zip reader reads every form that zipfile writes, and keeps no member in memory."""

import io
import tracemalloc
import zipfile

import pytest
from hypothesis import given, settings, strategies as st

from feedline.prep import SourceError
from feedline.prep.archives.zip import read_zip_member, walk_zip

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\"), min_size=1, max_size=20)


def read(data: bytes) -> dict[str, bytes]:
    file = io.BytesIO(data)
    return {m.name: read_zip_member(file, m.position, "it") for m in walk_zip(file, len(data), "it")}


def zip_of(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.comment = comment
        for name, data in files.items():
            with archive.open(name, "w", force_zip64=len(data) % 2 == 0) as member:
                member.write(data)
    return out.getvalue()


@settings(max_examples=100)
@given(
    files=st.dictionaries(NAMES, st.binary(max_size=300), max_size=6),
    compression=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    comment=st.binary(max_size=100),
)
def test_what_zipfile_writes_is_read(files: dict[str, bytes], compression: int, comment: bytes) -> None:
    """Members may be stored or deflated, with or without zip64 sizes, names in any script, and a comment at the end."""
    if b"PK\5\6" not in comment:
        assert read(zip_of(files, compression, comment)) == files


@settings(max_examples=300)
@given(data=st.data())
def test_changed_bytes_give_the_right_members_or_an_error(data: st.DataObject) -> None:
    """With damage anywhere, the reader returns the original bytes of every member or raises SourceError."""
    files = {"a/x.JPEG": b"first " * 40, "b/y.JPEG": b"second" * 50, "c/z.JPEG": bytes(range(256))}
    bytes_ = bytearray(zip_of(files, zipfile.ZIP_DEFLATED))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(bytes_) - 1) | st.integers(max(0, len(bytes_) - 250), len(bytes_) - 1))
        new = data.draw(st.binary(max_size=8) | st.just(b"\xff" * 4) | st.just(b"\xff" * 8))
        bytes_[place : place + data.draw(st.sampled_from([len(new), 0]))] = new

    try:
        found = read(bytes(bytes_))
    except SourceError:
        return
    assert sorted(found.values()) == sorted(files.values())


def test_a_directory_of_many_members_needs_no_memory() -> None:
    """70,000 members need zip64 counts. zipfile keeps 500 bytes for each, this reader none."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for i in range(70_000):
            archive.writestr(zipfile.ZipInfo(f"{i}"), b"")
    size = out.tell()

    tracemalloc.start()
    count = sum(1 for _ in walk_zip(out, size, "it"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 70_000 and peak < 500_000


def test_a_member_of_another_method_is_rejected() -> None:
    """bzip2 is a legal method, but the reader rejects it."""
    with pytest.raises(SourceError, match="packed by method 12"):
        read(zip_of({"x": b"x" * 100}, zipfile.ZIP_BZIP2))

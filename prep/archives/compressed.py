"""Tars that are plain or compressed, read from front to back.

The first bytes say how a tar is compressed; its name does not: ImageNet-V2's .tar.gz are plain. gzip, bzip2 and xz are
read with Python's own modules, zstd with Python's from 3.14 on or with the ``zstandard`` library (extra ``zstd``).
"""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..base.errors import SourceError
from .tar import UNKNOWN, Member, walk

# Bytes. Each read of a file releases the GIL, and taking it back from writers of small files is the cost: with the
# usual 8 KiB a flat archive of 2 KB images takes some 10 % longer (median of five, within their spread).
BUFFER = 256 * 1024
MAX_WINDOW = 1 << 31  # bytes of zstd's window, which "zstd --long=31" needs; it is allocated as data comes


def _open_zstd(raw: BinaryIO) -> AbstractContextManager[Any]:
    try:
        return import_module("compression.zstd").ZstdFile(raw)
    except ImportError:
        pass
    try:
        library = import_module("zstandard")
    except ImportError as error:
        raise SourceError("tars compressed by zstd need a library; run: pip install 'feedline[zstd]'") from error
    return library.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(
        raw, read_across_frames=True, closefd=False
    )


OPENERS: dict[bytes, tuple[str, Callable[[BinaryIO], AbstractContextManager[Any]]]] = {
    b"\x1f\x8b": ("gzip", lambda raw: gzip.GzipFile(fileobj=raw)),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ\0": ("xz", lzma.LZMAFile),
    b"\x28\xb5\x2f\xfd": ("zstd", _open_zstd),
}


def compression_of(path: Path) -> str | None:
    """Return how a file is compressed, such as "gzip", or None."""
    with path.open("rb") as file:
        return compression_by(file.read(8))


def compression_by(start: bytes) -> str | None:
    """Return how data that begins with ``start`` is compressed, or None."""
    return next((name for magic, (name, _) in OPENERS.items() if start.startswith(magic)), None)


@contextmanager
def open_tar(path: Path) -> Generator[tuple[BinaryIO, Iterator[Member]]]:
    """Open a tar, compressed or not, and yield (file, its members). Raises SourceError if unpacking finds damage."""
    with path.open("rb", BUFFER) as raw:
        start = raw.read(8)
        raw.seek(0)
        opener = next((opener for magic, (_, opener) in OPENERS.items() if start.startswith(magic)), None)
        if opener is None:
            yield raw, walk(raw, 0, path.stat().st_size, str(path))
            return
        try:
            with opener(raw) as stream:
                file = cast(BinaryIO, stream)
                yield file, walk(file, 0, UNKNOWN, str(path))
        except Exception as error:
            if not _is_damage(error):
                raise
            offset = raw.tell()
            raise SourceError(f"{path} is damaged at offset {offset} ({error}); copy or download it again") from error


def _is_damage(error: Exception) -> bool:
    """Whether an error comes from damaged data; bzip2 and gzip raise a plain OSError, without a number, for it."""
    is_plain = isinstance(error, OSError) and error.errno is None
    return is_plain or isinstance(error, EOFError | zlib.error | lzma.LZMAError) or type(error).__name__ == "ZstdError"

"""The md5 of archives, computed while they are unpacked.

The writers jump between classes, and md5 needs the bytes in order. So one more thread reads the archives from
front to back and stays within a gigabyte of the writers. The writers read the same bytes shortly before or after
it, so the disk delivers them once. A separate pass would read 148 GB twice.
"""

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from ..base.errors import SourceError

CHUNK = 4 * 1024 * 1024  # bytes
AHEAD = 1024 * 1024 * 1024  # bytes; a machine whose page cache holds less is short of memory anyway


class Md5s:
    """The md5 of archives, computed in a background thread that keeps step with calls of ``advance``."""

    def __init__(self, archives: Sequence[Path]) -> None:
        self._archives = archives
        self._digests: dict[Path, str] = {}
        self._allowed: float = AHEAD
        self._changed = threading.Condition()
        self._stopped = False
        self._error: SourceError | None = None
        self._thread = threading.Thread(target=self._run, name="md5", daemon=True)

    def __enter__(self) -> "Md5s":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = kind is not None
        self.advance(float("inf"))
        self._thread.join()

    def advance(self, more: float) -> None:
        """Let the thread read ``more`` bytes than before, because the writers have read that many more."""
        with self._changed:
            self._allowed += more
            self._changed.notify()

    def digests(self) -> dict[Path, str]:
        """Wait for the last byte and return {archive: md5}; raise SourceError if an archive cannot be read."""
        self.advance(float("inf"))
        while self._thread.is_alive():  # in slices, because Ctrl-C does not interrupt a long join on Windows
            self._thread.join(0.2)
        if self._error:
            raise self._error
        return self._digests

    def _run(self) -> None:
        done = 0
        for path in self._archives:
            digest = hashlib.md5(usedforsecurity=False)
            try:
                with path.open("rb", buffering=0) as file:
                    while self._wait_for(done) and (chunk := file.read(CHUNK)):
                        digest.update(chunk)
                        done += len(chunk)
            except OSError as error:
                self._error = SourceError(
                    f"cannot read {path} for its md5: {error.strerror}; copy or download it again"
                )
                return
            self._digests[path] = digest.hexdigest()

    def _wait_for(self, done: int) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or done < self._allowed)
        return not self._stopped

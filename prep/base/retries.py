"""Renames and deletions, which Windows rejects while another process holds the file open.

Virus scanners and indexers on Windows open each new file. A scan takes milliseconds, and longer for a large
checkpoint. Without a retry, one such moment can end a night of training. The other systems rename and delete open
files.
"""

import errno
import sys
import time
from collections.abc import Callable
from functools import partial as bind
from pathlib import Path

TRIES = 10  # the waits double from 10 ms: 5 s in all
HELD = (errno.EACCES, errno.ENOTEMPTY)  # a folder is not empty until the last process closes a deleted file


def put_in_place(temporary: Path, target: Path) -> None:
    """Rename a complete file or folder to its final name, with retries on Windows."""
    retry_while_held(bind(temporary.replace, target))


def retry_while_held(act: Callable[[], object]) -> None:
    """Call ``act``; on Windows, repeat it for up to 5 s while another process holds its file open."""
    for attempt in range(TRIES):
        try:
            act()
            return
        except OSError as error:
            if sys.platform != "win32" or error.errno not in HELD or attempt == TRIES - 1:
                raise
            time.sleep(0.01 * 2**attempt)

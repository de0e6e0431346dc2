"""Virus scanners and indexers: on Windows they open a file the moment it is new, and nothing can rename it until then.

A scan takes milliseconds, of a large checkpoint longer; whoever waits for it loses nothing, and whoever does not loses
a night of training to one bad moment. The other systems rename and delete what others hold open.
"""

import errno
import sys
import time
from collections.abc import Callable
from functools import partial as bind
from pathlib import Path

TRIES = 10  # doubling from 10 ms: 5 s in all
HELD = (errno.EACCES, errno.ENOTEMPTY)  # a folder is not empty until the last holder of a deleted file lets go


def put_in_place(temporary: Path, target: Path) -> None:
    """Rename a whole file or folder to its final name, patiently."""
    patiently(bind(temporary.replace, target))


def patiently(act: Callable[[], object]) -> None:
    """Do ``act``; on Windows, again for 5 s while another process holds open what it renames or deletes."""
    for attempt in range(TRIES):
        try:
            act()
            return
        except OSError as error:
            if sys.platform != "win32" or error.errno not in HELD or attempt == TRIES - 1:
                raise
            time.sleep(0.01 * 2**attempt)

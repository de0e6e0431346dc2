"""End a process soon after the one that it works for has died, even if that was killed and could end nothing itself."""

import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil

WATCH_SECONDS = 0.5


def end_with(pid: int, *, removes_inherited: bool = False) -> None:
    """End this process at once when the process ``pid``, its parent or one above it, has ended.

    The folder of multiprocessing's sockets is removed, which multiprocessing does at an orderly exit only. One that
    this process has from its parent may be that of a process which still runs; ``removes_inherited`` says that it is
    that of ``pid``.
    """
    inherited = None if removes_inherited else _folder()
    _when_ended(pid, lambda: _end(inherited))


def stop_with(pid: int) -> None:
    """Ask this process to stop, by SIGTERM, when the process ``pid``, its parent or one above it, has ended."""
    _when_ended(pid, lambda: os.kill(os.getpid(), signal.SIGTERM))


def _when_ended(pid: int, act: Callable[[], object]) -> None:
    """Call ``act`` soon after a process has ended, from a thread that watches it.

    (Linux can signal a child when its parent dies, but it takes the thread that started the child for the parent. That
    thread may end earlier.)
    """
    lives = _watch(pid)

    def watch() -> None:
        while lives():
            time.sleep(WATCH_SECONDS)
        act()

    threading.Thread(target=watch, name="feedline-parent", daemon=True).start()


def runs(process: psutil.Process) -> bool:
    """Return whether a process runs; one that has ended, and that its parent has not looked at yet, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, OSError):  # as of this process's open files, which may not be more
        return True


def _watch(pid: int) -> Callable[[], bool]:
    """Return a function that returns whether the process runs."""
    if sys.platform != "win32" and os.getppid() == pid:
        return lambda: os.getppid() == pid
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return lambda: False
    except (psutil.Error, OSError):
        return lambda: psutil.pid_exists(pid)
    return lambda: runs(process)


def _folder() -> str | None:
    """Return the folder of multiprocessing's sockets, if there is one."""
    config: dict[str, Any] = getattr(multiprocessing.current_process(), "_config", {})
    return config.get("tempdir")


def _end(inherited: str | None) -> None:
    try:
        if (folder := _folder()) and folder != inherited:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os._exit(1)

"""Which limit of the system an error is: one function from an exception, or the text of one, to a sentence.

Libraries report a limit in many ways: an OSError with a number, a RuntimeError with the text of one, a message of a C
library on stderr before it ends the process.
"""

import errno
import os
import re
import sys

from .files import open_file_limits, too_few_files, too_few_mappings
from .memory import memory_now
from .shared_memory import shared_memory_is_full
from .sockets import too_long_folder
from .tasks import NO_TASK, no_task_left, task_limits

# CPython, then libgomp, OpenBLAS, C++'s std::thread (DALI, gloo, oneTBB).
NO_THREAD = re.compile(
    r"can't start new thread|Thread creation failed|pthread_create failed|thread constructor failed|"
    r"thread: Resource temporarily unavailable|Cannot allocate.*thread"
)
MANY_TASKS = 64
"""So many more tasks may start that another limit keeps a thread from it."""
STARTS = {"_execute_child", "_posix_spawn", "_launch", "spawnv_passfds", "forkpty"}
"""The functions of the standard library that start a process. Pipes, sockets and locks raise the same error as fork."""
NO_SHARED_MEMORY = re.compile(
    r"[Bb]us error|insufficient shared memory|shared memory\(shm\)|</?torch_\w+>.*(No space|Cannot allocate)|"
    r"(No space|Cannot allocate).*</?torch_\w+>"
)


def limit_reached(error: BaseException) -> str | None:
    """Return which limit of the system an error is, with the next step; None for an error of the file itself."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EMFILE:
        return _files()
    if number == errno.ENFILE:
        return "this machine has as many open files as it allows; end other programs, or raise fs.file-max"
    if number == errno.ENOMEM and getattr(error, "filename", None) is None:
        return f"{os.strerror(errno.ENOMEM)}; use fewer workers or a smaller batch size, or end other programs"
    if number == errno.ENOMEM and sys.platform == "linux":
        return too_few_mappings()
    if number == errno.EAGAIN and _in_a_start(error):
        return _tasks()
    return limit_in(str(error)) if isinstance(error, (OSError, RuntimeError)) and number is None else None


def limit_in(text: str) -> str | None:
    """Return which limit of the system the message of a library is about, with the next step; None for no limit."""
    if NO_THREAD.search(text) or f"exit code {NO_TASK}." in text:  # as torch reports a worker that ended
        return _tasks()
    if "Too many open files" in text:
        return _files()
    if "AF_UNIX path" in text:
        return too_long_folder()
    return shared_memory_is_full() if NO_SHARED_MEMORY.search(text) else None


def _in_a_start(error: BaseException) -> bool:
    """Return whether an error was raised where a process is started."""
    found = error.__traceback__
    while found is not None and found.tb_next is not None:
        found = found.tb_next
    return found is not None and found.tb_frame.f_code.co_name in STARTS


def _files() -> str:
    shortage = too_few_files(*open_file_limits())
    return f"{shortage.found}, and has them open; {shortage.remedy}"


def _tasks() -> str:
    """Return why no thread or process starts. The stack of a thread needs addresses, 8 MB of them by default."""
    limit, memory = task_limits(), memory_now()
    if memory.limits_addresses and (limit is None or limit.left > MANY_TASKS):
        return f"no thread can start, because memory ran out: {memory.sentence}; raise that limit, or use fewer workers"
    return no_task_left(limit).sentence

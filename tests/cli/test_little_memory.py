"""A command with too little memory for its libraries: a sentence with the limit, also if nothing can be imported."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from feedline.cli import main
from feedline.cli.ending.memory import dropped_errors_said, follows_memory_error
from feedline.prep.limits import memory, reached
from feedline.prep.processes.endings import how_it_ended

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on addresses (RLIMIT_AS)")

# A library that needs memory may also crash, so only one case really lacks it. The others fail at the same import.
COMMANDS = """
import os, resource, sys
import psutil, click
from feedline.cli.main import run

class Failing:
    def __init__(self, error):
        self.error = error
    def find_spec(self, name, path=None, target=None):
        if name == "numpy" and self.error is not None:
            raise self.error

def limited(more):
    limit = psutil.Process().memory_info().vms + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

library = ImportError("libany.so: failed to map segment from shared object")
for more, error in ((5 * 10**6, None), (10**7, MemoryError()), (10**7, library), (None, library), (None, None)):
    child = os.fork()
    if not child:
        sys.meta_path.insert(0, Failing(error))
        if more is not None:
            limited(more)
        code = run(["verify", sys.argv[1]])
        sys.stdout.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_too_little_memory_for_the_libraries_is_one_sentence(tmp_path: Path) -> None:
    """The limit, what was used, and the way out; no traceback, and no advice to install a library again."""
    done = subprocess.run([sys.executable, "-c", COMMANDS, str(tmp_path)], capture_output=True, text=True, timeout=60)
    *short, missing, whole = done.stderr.splitlines()

    assert done.stdout.split() == ["1"] * 5 and len(short) == 3, done.stderr
    assert "cannot be loaded (libany.so: failed" in missing and "has no finished data set" in whole
    for line in short:
        assert line.startswith("feedline: memory ran out: this process may have "), line
        assert " MB of memory (ulimit -v) and has used up to " in line and "; raise that limit, or use fewer" in line


COMPILED = """
import resource, sys
import numba, numpy, psutil
from feedline.prep.base.compiled import number

limit = psutil.Process().memory_info().vms + 100_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
number(numpy.arange(5), 3)
"""


def test_too_little_memory_for_compiled_code_is_an_error() -> None:
    """With less, LLVM ends the process, and with so much OpenBLAS, which numba loads, allocates for ever."""
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("MemoryError: "), done.stderr
    assert done.stderr.endswith(" of addresses are left, and 256 MB are needed\n")


SHORT = memory.Memory(
    limit=None,
    used=None,
    total=8 * 10**9,
    free=10**9,
    address_space=3 * 10**9,
    addressed=29 * 10**8,
    kills=None,
    kills_on_machine=None,
)


def test_a_limit_on_addresses_is_blamed_for_what_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread without room for its stack, and a process that C++ aborted; a thread may also lack a task."""
    for module in (memory, reached, sys.modules[how_it_ended.__module__]):
        monkeypatch.setattr(module, "memory_now", lambda: SHORT)
    found = "this process may have 3.0 GB of memory (ulimit -v)"

    assert f"memory ran out: {found} and has used up to 2.9 GB" in str(reached.limit_in("can't start new thread"))
    assert how_it_ended(-6, "use less", None) == (
        f"was ended by SIGABRT, probably because memory ran out: {found}; raise that limit, or use less"
    )
    assert how_it_ended(-11, "use less", None).startswith("was ended by SIGSEGV, as a fault")
    assert memory.memory_ran_out(MemoryError(), "use less") == (
        f"memory ran out: {found} and has used up to 2.9 GB; raise that limit, or use less"
    )


@pytest.mark.parametrize("addressed", [2_990_000_000, 2 * 10**9])
def test_an_error_of_a_library_at_the_limit_is_no_bug(
    addressed: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As protobuf's EncodeError, where an allocation failed; far from the limit it is one."""
    monkeypatch.setattr(memory, "_address_space", lambda: 3 * 10**9)
    monkeypatch.setattr(memory, "_addressed", lambda: addressed)

    def fail(*_: object, **__: object) -> None:
        raise ValueError("Failed to serialize proto")

    monkeypatch.setattr(main.cli, "main", fail)
    assert main.run(["train", "data"]) == 1
    said = capsys.readouterr().err
    assert "ValueError: Failed to serialize proto" in said
    if addressed > 29 * 10**8:
        assert said.startswith("feedline: memory ran out: this process may have 3.0 GB of memory (ulimit -v)")
    else:
        assert said.startswith("feedline: feedline has a bug")


@pytest.mark.parametrize(
    ("line", "short"),
    [
        ("MemoryError", True),
        ("MemoryError: bad allocation", True),
        ("ImportError: libtorch_cpu.so: failed to map segment from shared object", True),
        ("OSError: Could not find/load shared object file 'libllvmlite.so' from ...", True),
        ("ImportError: No module named torch", False),
        ("ValueError: MemoryError", False),
    ],
)
def test_the_last_line_of_a_process_shows_that_its_memory_ran_out(
    line: str, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that does not load is blamed on the limit only if there is one."""
    monkeypatch.setattr(memory, "_address_space", lambda: 3 * 10**9)
    assert memory.allocation_failed_in(line) is short
    monkeypatch.setattr(memory, "_address_space", lambda: None)
    assert memory.allocation_failed_in(line) is (short and line.startswith("MemoryError"))


def test_errors_that_follow_each_other_have_an_end() -> None:
    """As where a library keeps the error of its thread, and raises it again from another error: TensorBoard does."""
    first, second = OSError(24, "Too many open files"), ValueError("closed")
    first.__context__, second.__context__ = second, first
    assert not follows_memory_error(first)
    second.__cause__ = MemoryError()
    assert follows_memory_error(first)


def test_an_error_of_the_system_in_a_thread_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback; another error, which is a bug, keeps its own."""

    def fail(error: Exception) -> None:
        raise error

    said: list[str] = []
    others: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", others.append)
    with dropped_errors_said(said.append):
        for error in (OSError(28, "No space left on device", "events"), ValueError("a bug")):
            thread = threading.Thread(target=fail, args=(error,))
            thread.start()
            thread.join()
    assert said == ["in a thread: [Errno 28] No space left on device: 'events'"]
    assert [found.exc_type for found in others] == [ValueError]

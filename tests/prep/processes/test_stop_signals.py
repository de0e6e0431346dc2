"""Signals that stop a process: a request that Python or a library drops is raised again, and no other is."""

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

# Each case loses the first request, or keeps it, in its own way; then it waits as a deaf process would for ever.
CASES = """
import os, signal, sys, time
from feedline.prep.processes.stop_signals import stops_interrupt

def request(number=signal.SIGTERM):
    os.kill(os.getpid(), number)
    for _ in range(100):
        pass

class Dropping:
    def __del__(self):
        request()

def dropped_at_the_end_of_an_object():
    Dropping()

def dropped_twice():
    Dropping()
    Dropping()

def dropped_by_a_library():
    try:
        request()
    except:
        pass

def dropped_and_sent_again():
    dropped_by_a_library()
    before = time.monotonic()
    try:
        request()
    finally:
        assert time.monotonic() - before < 0.5

def kept_while_it_is_handled():
    try:
        request()
    finally:
        for _ in range(3):
            time.sleep(0.5)  # longer than lost requests are looked for
            request(signal.SIGHUP)
        print("handled in order", end=" ")

for name, case in list(globals().items()):
    if name.startswith(("dropped", "kept")):
        began = time.monotonic()
        try:
            with stops_interrupt():
                case()
                while time.monotonic() < began + 20:
                    time.sleep(0.05)
        except KeyboardInterrupt:
            print(name)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
time.sleep(1.2)  # no request comes after its block
print("end")
"""


def test_a_request_that_is_dropped_is_raised_again() -> None:
    """By __del__ and by a library. No traceback is printed, and one that is handled is not disturbed."""
    done = subprocess.run([sys.executable, "-c", CASES], capture_output=True, text=True, timeout=110)

    assert done.stderr == "" and done.returncode == 0
    assert done.stdout.splitlines() == [
        "dropped_at_the_end_of_an_object",
        "dropped_twice",
        "dropped_by_a_library",
        "dropped_and_sent_again",
        "handled in order kept_while_it_is_handled",
        "end",
    ]


def test_a_signal_that_the_process_ignores_stays_ignored() -> None:
    """As nohup starts a program. Without a handler there is nothing to raise again."""
    code = (
        "import os, signal, time\nfrom feedline.prep.processes.stop_signals import stops_interrupt\n"
        "with stops_interrupt():\n    os.kill(os.getpid(), signal.SIGHUP)\n    time.sleep(0.1)\nprint('went on')"
    )

    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=ignore)
    assert (done.stdout, done.returncode) == ("went on\n", 0)

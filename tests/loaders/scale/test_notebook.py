"""Cells of a notebook: run twice, interrupted and run again, in a real Jupyter kernel."""

import queue
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ..contract import COVERING, require_loader

pytest.importorskip("ipykernel", reason="install it with: pip install 'feedline[test]'")
client_module = pytest.importorskip("jupyter_client", reason="install it with: pip install 'feedline[test]'")

CELL = """
from feedline.loaders import LoaderSpec, open_loader
loader = open_loader({name!r}, LoaderSpec(root={root!r}, batch_size=20, image_size=32, workers={workers}))
print(sum(len(labels) for images, labels in loader), len(loader.dataset))
"""
ENDLESS = """
print("begun", flush=True)
while True:
    for images, labels in loader:
        pass
"""
AGAIN = "print(sum(len(labels) for images, labels in loader))"
CLOSE = "loader.close(); import threading, multiprocessing; print(len(multiprocessing.active_children()))"
SECONDS = 120
PRESSES = 3


@pytest.fixture(scope="module")
def kernel() -> Iterator[tuple[Any, Any]]:
    """A kernel of this Python, and its client."""
    manager = client_module.KernelManager()
    manager.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=SECONDS)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def printed(client: Any, cell: str) -> list[str]:
    """Run a cell and return what it printed."""
    texts: list[str] = []
    reply = client.execute_interactive(
        cell, timeout=SECONDS, output_hook=lambda m: texts.append(m["content"].get("text", "")), allow_stdin=False
    )
    assert reply["content"]["status"] == "ok", reply["content"]
    return "".join(texts).split()


def interrupt_when_begun(manager: Any, client: Any) -> str:
    """Run the endless cell, interrupt it, and return the error that ends it."""
    number = client.execute(ENDLESS, stop_on_error=False)  # else the kernel drops what comes soon after
    while True:
        message = client.get_iopub_msg(timeout=SECONDS)
        if message["parent_header"].get("msg_id") == number and "begun" in str(message["content"]):
            break
    time.sleep(0.3)  # into the loop
    for _ in range(
        PRESSES
    ):  # Python drops an interrupt that comes while it finalizes an object; then users press again
        manager.interrupt_kernel()
        with suppress(queue.Empty):
            while (reply := client.get_shell_msg(timeout=SECONDS / PRESSES))["parent_header"].get("msg_id") != number:
                pass
            return reply["content"].get("ename", "")
    pytest.fail("the kernel does not answer after an interrupt")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", COVERING)
def test_cells_are_run_twice_and_interrupted(name: str, workers: int, root: Path, kernel: tuple[Any, Any]) -> None:
    """A cell that opens a loader replaces the one of its first run; an interrupted loop runs again to its end."""
    manager, client = kernel
    cell = CELL.format(name=require_loader(name), root=str(root), workers=workers)
    assert printed(client, cell)[-2:] == ["84", "84"]
    assert printed(client, cell)[-2:] == ["84", "84"]
    for _ in range(2):
        assert interrupt_when_begun(manager, client) == "KeyboardInterrupt"
        assert printed(client, AGAIN)[-1:] == ["84"]
    assert printed(client, CLOSE)[-1:] == ["0"]

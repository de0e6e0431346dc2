"""``behind_link``: the files of a folder as a distant store has them, served by ``link_server`` in another process."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ...prep import MeasurementError

SERVER = (sys.executable, "-P", "-X", "utf8", str(Path(__file__).with_name("link_server.py")))


@contextmanager
def behind_link(folder: Path, latency: float, bytes_per_second: float) -> Generator[str]:
    """Serve a folder for a block, and yield its URL. Raises MeasurementError if the server does not start."""
    command = (*SERVER, str(folder.resolve()), str(latency), str(bytes_per_second))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            if not port:
                raise MeasurementError("the server of the link did not start; what it wrote is above")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()

"""An S3 server on the loopback, as moto's server speaks it, for the tests that read or write objects."""

import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BUCKET = "bucket"
SECRET = "s3cr3t"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a server accepts connections."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, "the server ended"
        time.sleep(0.05)
    raise AssertionError("the server did not start")


@contextmanager
def running(command: Sequence[str], port: int, settings: Mapping[str, str]) -> Generator[None]:
    """Run a server for a block, in which the environment has ``settings``."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            wait_for(port, process)
            yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def serving_s3() -> Generator[Any]:
    """Start a server with an empty bucket, put its address and credentials into the environment, yield s3fs's files."""
    for package in ("moto", "flask", "s3fs"):
        pytest.importorskip(package, reason="install it with: pip install 'feedline[test]'")
    import s3fs

    port = free_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port, settings):
        files = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
        files.mkdir(BUCKET)
        yield files


def put_folder(files: Any, folder: Path, name: str) -> str:
    """Upload a folder and return its URL."""
    files.put(str(folder), f"{BUCKET}/{name}", recursive=True)
    return f"s3://{BUCKET}/{name}"


def objects_below(files: Any, url: str) -> dict[str, bytes]:
    """Return {name: bytes} of the objects below a URL."""
    top = url.removeprefix("s3://")
    names = files.find(top) if files.exists(top) else []
    return {name.removeprefix(f"{top}/"): files.cat_file(name) for name in names}

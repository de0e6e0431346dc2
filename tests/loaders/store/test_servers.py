"""Roots on servers that people run: nginx, and S3 as moto's server speaks it."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from .epochs import epoch_of

NGINX = """
daemon off; {user} pid {work}/pid; error_log {work}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path {work}/1; proxy_temp_path {work}/2; fastcgi_temp_path {work}/3;
    uwsgi_temp_path {work}/4; scgi_temp_path {work}/5;
    server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""

# As root it would read as a user who has no access to the folders of a test.
USER = "user root;" if hasattr(os, "getuid") and os.getuid() == 0 else ""


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


@pytest.fixture
def nginx(root: Path, tmp_path: Path) -> Generator[str]:
    """The URL of the root behind nginx."""
    pytest.importorskip("aiohttp")
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed; install it with: apt-get install nginx-light")
    port, config = free_port(), tmp_path / "nginx.conf"
    config.write_text(NGINX.format(user=USER, work=tmp_path, port=port, folder=root.parent))
    process = subprocess.Popen([program, "-p", str(tmp_path), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}/data"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def s3(root: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """The URL of the root in a bucket of moto's server."""
    for package in ("moto", "flask", "s3fs"):
        pytest.importorskip(package, reason="install it with: pip install 'feedline[test]'")
    port = free_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        import s3fs

        files = s3fs.S3FileSystem(skip_instance_cache=True)
        files.mkdir("bucket")
        files.put(f"{root}/shards", "bucket/data/shards", recursive=True)
        yield "s3://bucket/data"
    finally:
        process.terminate()
        process.wait()


def test_nginx(root: Path, nginx: str) -> None:
    """Ranges of static files."""
    assert epoch_of(nginx, workers=2) == epoch_of(root)


@pytest.mark.slow
def test_s3(root: Path, s3: str) -> None:
    """Objects in a bucket, in this process and in a worker process, and with credentials from the environment."""
    assert epoch_of(s3, workers=2) == epoch_of(root)
    assert epoch_of(s3, "webdataset", workers=1) == epoch_of(root, "webdataset")

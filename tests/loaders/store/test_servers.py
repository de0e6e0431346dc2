"""Roots on servers that people run: nginx, and S3 as moto's server speaks it."""

import os
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from ...s3 import free_port, put_folder, serving_s3, wait_for
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
def s3(root: Path) -> Generator[str]:
    """The URL of the root in a bucket of moto's server."""
    with serving_s3() as files:
        put_folder(files, root / "shards", "data/shards")
        yield "s3://bucket/data"


def test_nginx(root: Path, nginx: str) -> None:
    """Ranges of static files."""
    assert epoch_of(nginx, workers=2) == epoch_of(root)


@pytest.mark.slow
def test_s3(root: Path, s3: str) -> None:
    """Objects in a bucket, in this process and in a worker process, and with credentials from the environment."""
    assert epoch_of(s3, workers=2) == epoch_of(root)
    assert epoch_of(s3, "webdataset", workers=1) == epoch_of(root, "webdataset")

"""Roots on servers that people run: nginx, S3 as moto's server speaks it, and the emulators of Google and Azure."""

import json
import os
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import pytest

from feedline.cli.main import run
from feedline.prep import OutputError, StoreError, write_shards

from ...clouds import AZURE_KEY, serving_az, serving_gs
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


@pytest.fixture(scope="module", params=[serving_gs, serving_az])
def bucket(request: pytest.FixtureRequest) -> Generator[str]:
    """The URL of a bucket of Google's, and of a container of Azure's."""
    with request.param() as url:
        yield url


def test_nginx(root: Path, nginx: str) -> None:
    """Ranges of static files."""
    assert epoch_of(nginx, workers=2) == epoch_of(root)


@pytest.mark.slow
def test_s3(root: Path, s3: str) -> None:
    """Objects in a bucket, in this process and in a worker process, and with credentials from the environment."""
    assert epoch_of(s3, workers=2) == epoch_of(root)
    assert epoch_of(s3, "webdataset", workers=1) == epoch_of(root, "webdataset")


@pytest.mark.slow
def test_google_and_azure(root: Path, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shards written there have the bytes of local ones, are written once, and are read in threads and workers."""
    url = f"{bucket}/data/shards"
    written = write_shards(root, out=url)
    assert written == write_shards(root, out=tmp_path / "shards") == write_shards(root, out=url)
    for name, fields in cast("list[tuple[str, Any]]", [("threaded", {"workers": 2}), ("webdataset", {"workers": 1})]):
        assert epoch_of(url, name, **fields) == epoch_of(tmp_path, name, **fields)
    assert run(["verify", url, "--decode"]) == 0
    capsys.readouterr()
    assert run(["doctor", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["facts"]["ranges"] is True


def test_what_google_and_azure_do_not_have(root: Path, bucket: str) -> None:
    with pytest.raises(StoreError, match=f"{bucket}/nothing"):
        epoch_of(f"{bucket}/nothing")
    with pytest.raises(OutputError, match="its store has no such bucket or container; make it"):
        write_shards(root, out=f"{bucket}-of-nobody/shards")


def test_a_wrong_key_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure's answer 403; the key stays out of the message."""
    with serving_az() as bucket:
        key = AZURE_KEY.replace("E", "F", 1)
        monkeypatch.setenv(
            "AZURE_STORAGE_CONNECTION_STRING", os.environ["AZURE_STORAGE_CONNECTION_STRING"].replace(AZURE_KEY, key)
        )
        with pytest.raises(
            StoreError, match=rf"does not let this process read .*{bucket}/data.*give its cred"
        ) as error:
            epoch_of(f"{bucket}/data")
    assert key not in str(error.value)

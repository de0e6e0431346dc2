"""What the tests of roots behind URLs share: a cache of their own, and a server."""

from collections.abc import Generator
from pathlib import Path

import pytest

from .servers import Server, serving


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache, empty."""
    monkeypatch.setenv("FEEDLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FEEDLINE_CACHE_SIZE", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def server(root: Path) -> Generator[Server]:
    """A server that serves the folder of the prepared root: the root is at ``server.url + "/data"``."""
    pytest.importorskip("aiohttp")
    with serving(root.parent) as server:
        yield server

"""`feedline doctor URL`: what a store can do."""

import json
from pathlib import Path

import pytest

from feedline.benchmarks.doctor.store_checks import check_store
from feedline.benchmarks.doctor.store_facts import StoreFacts
from feedline.cli.main import run
from feedline.prep import write_document

from ...loaders.store.servers import serving

FACTS = StoreFacts(
    url="s3://bucket/data",
    package="s3fs",
    credentials=("AWS_PROFILE",),
    samples=1_000,
    bytes=110_000_000,
    listing=True,
    ranges=True,
    latency_seconds=0.012,
    one_bytes_per_second=50e6,
    bytes_per_second=110e6,
    cache="/cache",
    cache_bytes=10**9,
)


def test_the_findings_of_a_usual_store() -> None:
    """Its bandwidth in images/s, and nothing to fix."""
    found = {finding.subject: finding for finding in check_store(FACTS)}

    assert {finding.level for finding in found.values()} == {"ok"}
    assert found["bandwidth"].consequence is not None
    assert "faster than 1,000 images/s" in found["bandwidth"].consequence
    assert found["credentials"].found == "credentials are in AWS_PROFILE"


def test_a_server_is_examined(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With ranges and without, with a password, and with nothing behind the URL."""
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("FEEDLINE_CACHE", str(tmp_path))
    with serving(root.parent) as server:
        assert run(["doctor", f"{server.url.replace('//', '//me:s3cr3t@')}/data", "--json"]) == 0
        said = capsys.readouterr()
        server.fault = lambda name, times: "whole"
        assert run(["doctor", f"{server.url}/data", "--json"]) == 0
        whole = json.loads(capsys.readouterr().out)
        assert run(["doctor", f"{server.url}/nothing"]) == 1
    facts = json.loads(said.out)["facts"]

    assert facts["ranges"] is True
    assert 0 < facts["latency_seconds"] < 60
    assert facts["bytes_per_second"] > 0
    assert facts["credentials"] == ["the URL"]
    assert "s3cr3t" not in said.out + said.err
    assert whole["facts"]["ranges"] is False
    assert "nothing has no shards/manifest.json" in capsys.readouterr().err


def test_odd_stores_are_described(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing shard, a manifest without shards, and a folder of this machine as a URL."""
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("FEEDLINE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "web" / "shards").mkdir(parents=True)
    manifest = json.loads((root / "shards" / "manifest.json").read_text("utf-8"))
    write_document(tmp_path / "web" / "shards" / "manifest.json", {**manifest, "splits": {}})
    with serving(root.parent) as server:
        server.fault = lambda name, times: "404" if name.endswith(".tar") else None
        assert run(["doctor", f"{server.url}/data"]) == 1
        assert ".tar is missing, and the manifest lists it; upload it again" in capsys.readouterr().err
    with serving(tmp_path / "web") as server:
        assert run(["doctor", f"{server.url}/"]) == 1
        assert "manifest.json lists no shards; write them with: feedline shard ROOT" in capsys.readouterr().err
    assert run(["doctor", (tmp_path / "none").as_uri()]) == 2
    assert "does not exist" in capsys.readouterr().err

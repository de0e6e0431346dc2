"""Peers' own libraries open every format that Pillow knows, so a conversion refuses what is no image."""

import subprocess
import sys
from pathlib import Path

from feedline.prep import list_samples, read_manifest

from ...prep.foreign_files import EPS


def test_a_conversion_refuses_an_eps_file(folders: Path, tmp_path: Path, ghostscript: Path) -> None:
    """Before the peer's library is imported, so that the test needs none."""
    path = list_samples(folders, read_manifest(folders), "train")[3].path
    path.write_bytes(EPS)
    place = tmp_path / "converted"
    command = [sys.executable, "-m", "feedline.benchmarks.peers.conversions", "timm", str(folders), "train", str(place)]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr.strip().endswith(f"{path} is an EPS file; check the data with: feedline verify {folders}")
    assert not place.exists()
    assert not ghostscript.exists()

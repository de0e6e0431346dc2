"""Odd image files at the command line: files that are no images, and images of 16 bits."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feedline.cli.main import run
from feedline.prep import SHARDS, list_samples, read_manifest
from feedline.prep.shards.read import read_shard

from ..prep.foreign_files import EPS
from ..prep.image_modes import MODES, SIDE
from ..prep.trees import TRAIN, tar_of


def test_an_eps_file_among_the_images_is_named(
    folders: Path, ghostscript: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`verify` reports it, `shard` counts it as no image, and neither starts Ghostscript."""
    path = list_samples(folders, read_manifest(folders), "train")[3].path
    path.write_bytes(EPS)
    verified = run(["verify", str(folders), "--decode"])
    said = capsys.readouterr()
    sharded = run(["shard", str(folders), "--split", "train", "--encode", "resize", "--short-side", "64", "--json"])
    written = json.loads(capsys.readouterr().out)

    assert (verified, sharded) == (1, 0)
    words = f"{path} is no image of a format that feedline opens: it is an EPS file"
    assert words in " ".join((said.out + said.err).split())
    assert written["passed_through"] == {"foreign": 1}
    assert not ghostscript.exists()


def test_a_16_bit_png_keeps_its_levels_from_the_archive_to_the_shard(tmp_path: Path) -> None:
    """`prep`, then `shard --encode resize`: once it became white here for good."""
    data, expected = MODES["I;16 png"](32)
    names = {wnid: f"{wnid}_1.JPEG" for wnid in ("n01440764", "n01443537")}
    archives = tmp_path / "archives"
    archives.mkdir()
    inner = {f"{wnid}.tar": tar_of({name: data}) for wnid, name in names.items()}
    (archives / TRAIN).write_bytes(tar_of(inner))
    root = tmp_path / "data"

    assert run(["prep", "imagenet", str(archives), "--out", str(root), "--checksum", "none"]) == 0
    assert run(["shard", str(root), "--encode", "resize", "--short-side", str(16 * SIDE), "--quality", "100"]) == 0

    samples = [sample for path in sorted((root / SHARDS).glob("*.tar")) for sample in read_shard(path)]
    assert len(samples) == 2
    for sample in samples:
        pixels = np.asarray(Image.open(io.BytesIO(sample.image)), np.int16)[8::16, 8::16]
        assert np.abs(pixels - expected).max() <= 2

"""`feedline compare`: the images on which two checkpoints differ are found, named and shown."""

import base64
import json
import re
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from feedline.cli.main import cli
from feedline.prep import ClassEntry, OutputError, TrainingError, list_samples, read_document, read_manifest
from feedline.train import Comparison, EvaluateConfig, TrainConfig, compare, train, write_gallery
from feedline.train.evaluation.image_files import thumbnail
from feedline.train.evaluation.predictions import predict


@pytest.fixture(scope="module")
def pair(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return two checkpoints that were trained from different weights, at different sizes."""
    place = tmp_path_factory.mktemp("compare")
    config = TrainConfig(
        root=root, out=place / "a", epochs=1, batch_size=16, image_size=32, stem="imagenet", device="cpu"
    )
    other = replace(config, out=place / "b", seed=1, image_size=40)
    return train(config).checkpoint, train(other).checkpoint


def settings(root: Path, loader: str = "imagefolder") -> EvaluateConfig:
    return EvaluateConfig(root=root, loader=loader, split="train", device="cpu")


def test_the_listed_images_are_those_that_differ_most(pair: tuple[Path, Path], root: Path) -> None:
    """Counts, verdicts and order follow from the two tables of predictions."""
    found, images = compare(pair, settings(root), limit=12)
    (_, contents, a), (_, _, b) = (predict(path, settings(root)) for path in pair)
    differ = np.flatnonzero(a.best != b.best)
    assert found.disagreements == len(differ) >= 10
    assert found.both_right + found.only_a_right + found.only_b_right + found.both_wrong == found.images == 84
    assert (found.both_right + found.only_a_right) / 84 == pytest.approx(found.a.top1)
    gaps = {int(index): b.truth_probability[index] - a.truth_probability[index] for index in differ}
    chosen = sorted(gaps, key=lambda index: -abs(gaps[index]))[:12]
    assert [listed.gap for listed in found.listed] == [gaps[index] for index in chosen]
    samples = list_samples(root, read_manifest(root), "train")
    for index, listed, image in zip(chosen, found.listed, images, strict=True):
        assert listed.file == image.name == samples[index].path.relative_to(root).as_posix()
        assert image.data == samples[index].path.read_bytes()
        assert listed.truth.id == samples[index].path.parent.name
        assert listed.a.label == contents.classes[a.best[index]] != listed.b.label
        assert listed.a.correct == (listed.a.label == listed.truth)
        assert listed.b.probability == b.best_probability[index]


def test_a_checkpoint_agrees_with_itself(pair: tuple[Path, Path], root: Path, tmp_path: Path) -> None:
    """Nothing differs, nothing is listed, and the page still stands."""
    found, images = compare((pair[0], pair[0]), settings(root))
    assert (found.disagreements, found.listed, images) == (0, (), [])
    paths = write_gallery(tmp_path / "out", found, images)
    assert "disagree on 0 of 84 images" in paths["html"].read_text("utf-8")


def test_shards_alone_give_the_same_images(pair: tuple[Path, Path], root: Path, tmp_path: Path) -> None:
    """Without class folders, files are named by shard and member, and show the same pixels."""
    bare = tmp_path / "bare"
    shutil.copytree(root / "shards", bare / "shards")
    found, images = compare(pair, settings(bare, "webdataset"))
    expected, originals = compare(pair, settings(root, "imagefolder"))
    shown = {Path(image.name).stem: thumbnail(image, 4096).tobytes() for image in images}
    assert shown == {Path(image.name).stem: thumbnail(image, 4096).tobytes() for image in originals}
    assert found.disagreements == expected.disagreements
    for listed in found.listed:
        assert re.fullmatch(r"shards/[\w-]+\.tar/n\d{8}_\d+\.jpg", listed.file)
        assert Path(listed.file).stem.partition("_")[0] == listed.truth.id


def test_the_command_writes_page_sheet_and_json(pair: tuple[Path, Path], root: Path, tmp_path: Path) -> None:
    """Ten images are listed; the page carries them inside and needs no network; the JSON is the same table."""
    arguments = [*map(str, pair), str(root), "--out", str(tmp_path / "out"), "--split", "train", "--workers", "0"]
    result = CliRunner().invoke(cli, ["compare", *arguments, "--device", "cpu", "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert {"images", "disagreements", "listed"} <= printed.keys()
    assert len(printed["listed"]) == 10
    assert {"file", "truth", "a", "b", "gap"} <= printed["listed"][0].keys()
    saved = read_document(tmp_path / "out" / "comparison.json", Comparison)
    assert [listed.file for listed in saved.listed] == [listed["file"] for listed in printed["listed"]]

    page = (tmp_path / "out" / "gallery.html").read_text("utf-8")
    assert not re.search(r'(src|href)="(?!data:)|url\(|<script', page)
    shown = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(shown) == 10
    for data in shown:
        with Image.open(BytesIO(base64.b64decode(data))) as image:
            assert max(image.size) <= 224
    with Image.open(tmp_path / "out" / "contact-sheet.png") as sheet:
        assert sheet.width > 1000


def test_hostile_names_are_shown_as_text(pair: tuple[Path, Path], root: Path, tmp_path: Path) -> None:
    """Class and file names may come from a stranger: no markup of theirs is live, no formula is parsed."""
    found, images = compare(pair, settings(root), limit=1)
    evil = ClassEntry(id="n00000001", name="<script>alert(1)</script> $\\frac{ \x1b[2J")
    listed = replace(found.listed[0], truth=evil, file='"><img src=x onerror=alert(1)>')
    paths = write_gallery(tmp_path, replace(found, listed=(listed,)), images)
    page = paths["html"].read_text("utf-8")
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page


def test_wrong_input_ends_in_one_sentence(pair: tuple[Path, Path], root: Path, tmp_path: Path) -> None:
    """A damaged checkpoint and an output place that is a file are named."""
    broken = tmp_path / "broken.pt"
    broken.write_bytes(pair[1].read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"broken\.pt"):
        compare((pair[0], broken), settings(root))
    found, images = compare((pair[0], pair[0]), settings(root))
    with pytest.raises(OutputError, match=r"broken\.pt.*--out"):
        write_gallery(broken, found, images)

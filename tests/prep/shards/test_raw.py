"""Shards of pixels: what is written, how much is announced, what other readers see, and shards made of such shards."""

import json
import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from feedline.cli.main import run
from feedline.prep import (
    MANIFEST,
    SHARDS,
    OutputError,
    ShardSpec,
    find_samples,
    index_shards,
    prepare_webdataset,
    read_shard_manifest,
    verify,
    write_shards,
)
from feedline.prep.archives import npy
from feedline.prep.images.rgb import read_rgb
from feedline.prep.roots.samples import SampleReader
from feedline.prep.shards.encode import EncodeSpec, encode_image
from feedline.prep.shards.index import read_index
from feedline.prep.shards.writing import estimate, shard

from ..encoded_images import encode


@pytest.fixture(scope="module")
def raw(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The raw shards of the small ImageNet. Tests that change them copy them first."""
    out = tmp_path_factory.mktemp("raw") / SHARDS
    write_shards(root, ShardSpec(seed=3, encode="raw"), out=out)
    return out


def members(directory: Path) -> dict[str, bytes]:
    """Return the members of all shards by name."""
    found: dict[str, bytes] = {}
    for path in sorted(directory.glob("*.tar")):
        with tarfile.open(path) as tar:
            found |= {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    return found


@pytest.mark.filterwarnings("ignore:Tag data")  # of the broken EXIF that ImageNet has too
def test_members_are_the_pixels_that_the_loaders_decode(root: Path, raw: Path) -> None:
    """Of CMYK, grey and PNG images too; numpy reads them, and the json has their size."""
    found = members(raw)
    with SampleReader() as reader:
        for split in ("train", "val"):
            for sample in find_samples(root).splits[split]:
                pixels = np.load(BytesIO(found[f"{sample.key}.npy"]))
                about = json.loads(found[f"{sample.key}.json"])

                assert np.array_equal(pixels, np.asarray(read_rgb(reader.read(sample))))
                assert (about["height"], about["width"], about["name"]) == (*pixels.shape[:2], sample.name)
    manifest = read_shard_manifest(raw)
    assert (manifest.encode, manifest.short_side, manifest.quality, manifest.passed_through) == ("raw", None, None, {})


def test_the_index_says_where_the_pixels_begin(raw: Path) -> None:
    """At a multiple of 64 bytes in the shard, so that vectors load whole lines of the cache."""
    for path in raw.glob("*.tar"):
        rows, data = read_index(path).samples, np.fromfile(path, np.uint8)
        for offset, size, width, height, start, interval in rows[
            ["offset", "size", "width", "height", "scan", "restart_interval"]
        ].tolist():
            assert (start, interval, (offset + start) % 64) == (128, 0, 0)
            assert size == 128 + 3 * width * height
            assert np.array_equal(np.load(BytesIO(data[offset : offset + size].tobytes())).shape, (height, width, 3))


def test_verify_and_the_indexes_made_again(raw: Path, tmp_path: Path) -> None:
    """--index-only gives the same bytes from the tars alone, and verify finds a shape that the index does not have."""
    (tmp_path / SHARDS).mkdir()
    for path in raw.iterdir():
        (tmp_path / SHARDS / path.name).write_bytes(path.read_bytes())
    before = {path.name: path.read_bytes() for path in (tmp_path / SHARDS).glob("*.id*x")}
    for name in before:
        (tmp_path / SHARDS / name).unlink()
    index_shards(tmp_path / SHARDS)

    assert {path.name: path.read_bytes() for path in (tmp_path / SHARDS).glob("*.id*x")} == before
    found = verify(tmp_path / SHARDS, decode=True)
    assert (found.problems, found.odd, found.formats["val"]) == ((), (), {"raw": 84})

    shard = next((tmp_path / SHARDS).glob("*-train-*.tar"))
    data = shard.read_bytes()
    shard.write_bytes(data.replace(b"'shape': (", b"'shape':((", 1))
    problems = " ".join(verify(tmp_path / SHARDS).problems)
    assert "NumPy file" in problems
    assert "another sha256" in problems


def test_a_short_side_makes_images_smaller_and_never_larger(root: Path, tmp_path: Path) -> None:
    """The manifest has it, and another one is another set."""
    manifest = write_shards(root, ShardSpec(encode="raw", short_side=40, splits=("val",)), out=tmp_path / SHARDS)
    sides = [min(npy.pixels_of(data).shape[:2]) for name, data in members(tmp_path / SHARDS).items() if ".npy" in name]  # type: ignore[union-attr]

    assert manifest.short_side == 40
    assert set(sides) == {40}
    small = encode_image(encode(Image.new("RGB", (30, 20)), "PNG"), EncodeSpec(encode="raw", short_side=40))
    assert small.size == (30, 20)
    with pytest.raises(OutputError, match="holds other shards"):
        write_shards(root, ShardSpec(encode="raw", short_side=41, splits=("val",)), out=tmp_path / SHARDS)


def test_what_has_no_pixels_passes_through() -> None:
    """It keeps its bytes and its extension, and is counted."""
    image = encode(Image.new("RGB", (300, 300)), "JPEG")
    cut = encode_image(image[:400], EncodeSpec(encode="raw"))
    eps = encode_image(b"%!PS-Adobe-3.0", EncodeSpec(encode="raw"))

    assert (cut.data, cut.passed_through, cut.first_pixel) == (image[:400], "damaged", 0)
    assert (eps.passed_through, eps.first_pixel) == ("foreign", 0)


def test_an_image_of_more_than_a_member_may_have_passes_through() -> None:
    """64 MiB: verify and --index-only read no larger one."""
    image = encode(Image.new("RGB", (5000, 5000)), "PNG")

    assert encode_image(image, EncodeSpec(encode="raw")).passed_through == "too-large"
    assert encode_image(image, EncodeSpec(encode="raw", short_side=100)).size == (100, 100)


def test_orientation_is_applied_to_pixels() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    out = BytesIO()
    Image.new("RGB", (30, 20)).save(out, "JPEG", exif=exif)
    turned = encode_image(out.getvalue(), EncodeSpec(encode="raw", apply_orientation=True))

    assert (turned.size, turned.turned) == ((20, 30), "lossless")


def test_shards_from_raw_shards(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """raw and copy keep every byte of the images, resize makes JPEGs, and restart, which can do nothing, is refused."""
    images = {name: data for name, data in members(raw).items() if name.endswith(".npy")}
    for encoding in ("raw", "copy"):
        write_shards(raw, ShardSpec(encode=encoding, order="sequential"), out=tmp_path / encoding / SHARDS)
        again = members(tmp_path / encoding / SHARDS)
        assert {name: data for name, data in again.items() if name.endswith(".npy")} == images
    write_shards(raw, ShardSpec(encode="resize", short_side=32), out=tmp_path / "resize" / SHARDS)
    names = {name.partition(".")[2] for name in members(tmp_path / "resize" / SHARDS)}

    assert names == {"jpg", "cls", "json"}
    assert run(["shard", str(raw), "--out", str(tmp_path / "restart" / SHARDS)]) == 1
    error = capsys.readouterr().err
    assert "holds pixels, and --encode restart adds markers to JPEGs; keep the pixels with --encode raw" in error
    assert not (tmp_path / "restart").exists()


def test_markers_for_a_single_raw_image_change_nothing() -> None:
    """As for every image that is no JPEG."""
    data = npy.to_npy(np.zeros((4, 5, 3), np.uint8))
    found = encode_image(data, EncodeSpec(encode="restart"))

    assert (found.data, found.passed_through, found.first_pixel, found.size) == (data, "raw", 128, (5, 4))


def test_the_size_is_announced_before_anything_is_written(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what would fill a disk is refused, with the sizes of smaller images and the way to insist."""
    said: list[str] = []
    spec = ShardSpec(encode="raw", splits=("val",))
    manifest = write_shards(root, spec, out=tmp_path / "a" / SHARDS, notice=said.append)
    total = sum(shard.bytes for shard in manifest.splits["val"].shards)
    announced = float(next(text for text in said if "raw pixels" in text).split()[3]) * 1e6

    assert abs(announced - total) < 0.1 * total
    monkeypatch.setattr(estimate, "MOST_WITHOUT_SHORT_SIDE", total / 2)
    with pytest.raises(
        OutputError,
        match=r"would write about .* MB: the pixels of 84 images.*--short-side 64 about .*--short-side 65535",
    ):
        write_shards(root, spec, out=tmp_path / "b" / SHARDS)
    assert not list((tmp_path / "b").rglob("*.tar"))
    again = write_shards(root, replace(spec, short_side=65535), out=tmp_path / "b" / SHARDS)
    assert sum(shard.bytes for shard in again.splits["val"].shards) == total


def test_the_command(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json has the encoding; options that mean nothing are refused."""
    command = ["shard", str(root), "--split", "val", "--encode", "raw", "--short-side", "32"]

    assert run([*command, "--out", str(tmp_path / SHARDS), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["encode"] == "raw"
    assert json.loads((tmp_path / SHARDS / MANIFEST).read_text("utf-8"))["encode"] == "raw"
    assert run([*command, "--quality", "80", "--out", str(tmp_path / "no")]) == 2
    assert "--quality needs --encode resize" in capsys.readouterr().err
    assert run(["shard", str(root), "--short-side", "32", "--out", str(tmp_path / "no")]) == 2
    assert "--short-side needs --encode resize or raw" in capsys.readouterr().err


def test_an_interrupted_run_continues(root: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same bytes as a run that was not interrupted."""
    written, real = list[Any](), shard.encode_image

    def stopping(data: bytes, spec: EncodeSpec) -> Any:
        written.append(None)
        if len(written) > 50:
            raise KeyboardInterrupt
        return real(data, spec)

    out = tmp_path / SHARDS
    monkeypatch.setattr(shard, "encode_image", stopping)
    with pytest.raises(KeyboardInterrupt):
        write_shards(root, ShardSpec(seed=3, encode="raw"), out=out, workers=1)
    monkeypatch.setattr(shard, "encode_image", real)
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    write_shards(root, ShardSpec(seed=3, encode="raw"), out=out)

    assert kept
    assert kept.items() <= {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}.items()
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == {
        path.name: path.read_bytes() for path in raw.iterdir() if path.is_file()
    }


def test_raw_shards_of_other_tools(raw: Path, tmp_path: Path) -> None:
    """Any tar of .npy and .cls is read where it lies; beside another image, an .npy is taken for features."""
    (tmp_path / "wds").mkdir()
    with tarfile.open(tmp_path / "wds" / "train-0.tar", "w") as tar:
        for number in range(6):
            out = BytesIO()
            np.save(out, np.full((8, 9, 3), number, np.uint8))
            files = {"npy": out.getvalue(), "cls": b"%d" % (number % 2)}
            for extension, data in files.items():
                info = tarfile.TarInfo(f"s{number}.{extension}")
                info.size = len(data)
                tar.addfile(info, BytesIO(data))
    prepare_webdataset([tmp_path / "wds"], tmp_path / "data")
    rows = read_index(tmp_path / "data" / SHARDS / "train-0.tar", tmp_path / "wds" / "train-0.tar").samples

    assert rows["scan"].tolist() == [128] * 6
    assert rows["width"].tolist() == [9] * 6

    with tarfile.open(tmp_path / "wds" / "train-0.tar", "w") as tar:
        for extension, data in {
            "npy": b"features",
            "jpg": encode(Image.new("RGB", (8, 8)), "JPEG"),
            "cls": b"0",
        }.items():
            info = tarfile.TarInfo(f"s.{extension}")
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
    index_shards(tmp_path / "wds")
    assert read_index(tmp_path / "wds" / "train-0.tar").samples["width"].tolist() == [8]


@pytest.mark.filterwarnings("ignore")
def test_webdataset_and_wids_decode_them(raw: Path, tmp_path: Path) -> None:
    """With the decoders of these libraries, which know .npy by its name."""
    webdataset = pytest.importorskip("webdataset")
    wids = pytest.importorskip("wids", reason='wids is not installed: pip install "feedline[interop]"')
    found = members(raw)
    paths = [str(path) for path in sorted(raw.glob("*-val-*.tar"))]
    stream = webdataset.WebDataset(paths, shardshuffle=False, empty_check=False).decode()
    count = 0
    for sample in stream:
        assert np.array_equal(sample["npy"], npy.pixels_of(found[f"{sample['__key__']}.npy"]))
        assert sample["cls"] == int(found[f"{sample['__key__']}.cls"])
        count += 1
    assert count == 84

    dataset = wids.ShardListDataset(str(next(raw.glob("*-val.json"))), cache_dir=str(tmp_path), keep=True)
    sample = dataset[7]
    assert np.array_equal(sample[".npy"], npy.pixels_of(found[f"{sample['__key__']}.npy"]))

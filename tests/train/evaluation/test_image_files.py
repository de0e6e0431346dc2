"""From a sample index back to its image: shards of other tools hold other image types and hidden files."""

import io
import tarfile
from pathlib import Path

from PIL import Image

from feedline.prep import index_shards
from feedline.train.evaluation.image_files import read_images


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def test_images_of_foreign_shards_are_found_by_their_index(root: Path, tmp_path: Path) -> None:
    """Upper-case extensions and PNGs count as images; hidden files and other members do not."""
    source = next((root / "train").rglob("*.JPEG"))
    png = io.BytesIO()
    with Image.open(source) as opened:
        opened.convert("RGB").save(png, "PNG")
    jpeg = source.read_bytes()
    files = {"a.JPG": jpeg, "a.cls": b"0", "._a.jpg": b"", "a.seg.png": png.getvalue(), "b.png": png.getvalue()}
    (tmp_path / "shards").mkdir()
    write_tar(tmp_path / "shards" / "set-train-000000.tar", {**files, "b.cls": b"1", "c.jpeg": jpeg, "c.cls": b"0"})
    index_shards(tmp_path / "shards", workers=1)

    found = read_images(tmp_path, "train", [2, 1, 0])

    assert [Path(image.name).name for image in found] == ["c.jpeg", "b.png", "a.JPG"]
    assert [image.data for image in found] == [jpeg, png.getvalue(), jpeg]

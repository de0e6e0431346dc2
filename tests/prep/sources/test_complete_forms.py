"""All 1000 classes in another form than the official archive: counts are compared, the archive's size is not."""

import bz2
import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from feedline.prep import SourceError, prepare_imagenet, validation_labels
from feedline.prep.labels.completeness import OFFICIAL

from ..trees import VAL, Files, tar_of


@pytest.mark.parametrize(
    ("prefix", "pack"),
    [("./", bytes), ("ILSVRC2012_img_val/", bytes), ("", gzip.compress), ("", bz2.compress), ("val/", bytes)],
)
@pytest.mark.parametrize("lost", [0, 1])
def test_a_packed_copy_is_complete_by_its_counts(
    files: Files,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prefix: str,
    pack: Callable[[bytes], bytes],
    lost: int,
) -> None:
    """Packed again or compressed, it has another size; before, it was to be downloaded again."""
    monkeypatch.setitem(OFFICIAL, "val", replace(OFFICIAL["val"], images=1000 + lost, fewest=1, most=1, bytes=1))
    names = dict.fromkeys({wnid: name for name, wnid in validation_labels().items()}.values(), min(files.values()))
    archive = tmp_path / VAL
    archive.write_bytes(pack(tar_of({prefix + name: data for name, data in names.items()})))

    if lost:
        with pytest.raises(SourceError, match="holds 1000 val images of all 1000 classes, ImageNet has 1001"):
            prepare_imagenet([archive], tmp_path / "out")
    else:
        assert prepare_imagenet([archive], tmp_path / "out").splits["val"].images == 1000

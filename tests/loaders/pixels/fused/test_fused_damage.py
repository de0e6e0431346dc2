"""Damaged images: the fused decoder stays within its arrays, and takes none that libjpeg-turbo decodes differently."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from feedline.benchmarks.claims.fused_fuzz import (
    Damaged,
    Guarded,
    Outcome,
    decode,
    originals,
    reference,
    run,
    whole_plan,
)
from feedline.loaders.pixels.fused.plan import HEIGHT, WIDTH

GUARDED, ORIGINALS = Guarded(), originals()


def test_damaged_images_change_no_guard_zone_and_no_pixel() -> None:
    """Of two thousand; ``python -m feedline.benchmarks.claims.fused_fuzz`` does the same with a million."""
    outcome = Outcome(seed=7)
    for _ in run(outcome, 2000):
        pass

    assert outcome.touched == outcome.other == 0
    assert outcome.equal > 200 and outcome.refused > 500
    assert outcome.unseen <= 4  # damage to markers of the same row, outside of the tiles that are decoded


@settings(max_examples=200)
@given(st.integers(0, len(ORIGINALS) - 1), st.data())
def test_any_bytes_in_a_header_or_a_scan(number: int, data: st.DataObject) -> None:
    """Bytes that hypothesis chooses, and shrinks where it finds an error."""
    source, tiles = ORIGINALS[number]
    plan = whole_plan(source)
    size = plan.item(WIDTH), plan.item(HEIGHT)
    changed = source.copy()
    for place in data.draw(st.lists(st.integers(0, len(source) - 1), max_size=6)):
        changed[place] = data.draw(st.integers(0, 255))
    left, top = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    height = size[1] - top if tiles is None else data.draw(st.integers(1, size[1] - top))
    box = left, top, data.draw(st.integers(1, size[0] - left)), height
    image = Damaged(ORIGINALS[number]._replace(data=changed), box, False)

    if decode(image, GUARDED, planar=False):
        wanted = reference(image)
        assert wanted is None or (GUARDED.row.reshape(wanted.shape) == wanted).all()
    assert GUARDED.are_whole()


def test_a_guard_zone_that_changes_is_noticed() -> None:
    """Otherwise the tests here would promise nothing."""
    guarded = Guarded()
    base = guarded.row.base
    assert base is not None
    whole = base if base.base is None else base.base
    whole[-1] = 0

    assert not guarded.are_whole()


@pytest.mark.slow
def test_checked_indexes_stay_within_the_arrays(tmp_path: Path) -> None:
    """NUMBA_BOUNDSCHECK=1 compiles the same functions with checks, and words are read byte by byte."""
    command = [sys.executable, "-m", "feedline.benchmarks.claims.fused_fuzz", "--images", "400", "--seed", "3"]
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1"}
    done = subprocess.run([*command, "--out", str(tmp_path / "counts.json")], env=environment, capture_output=True)

    assert done.returncode == 0, done.stderr.decode()

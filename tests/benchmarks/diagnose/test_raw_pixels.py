"""When pixels pay: from memory if decoding is dear, from a disk only if it is fast, and never for nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from feedline.benchmarks.diagnose.diagnose import Diagnosis, advice
from feedline.benchmarks.diagnose.raw_pixels import RawPixels, compare_raw
from feedline.benchmarks.diagnose.what_if import what_ifs
from feedline.benchmarks.measuring.encodings import Profile
from feedline.benchmarks.measuring.stages import StageTimes

from .test_diagnose import found_by_hand


def stages(size: int, work: float) -> StageTimes:
    parts = {"fetch": 0.01, "decode": 1000 * work, "transform": 0.0, "collate": 0.0, "transfer": 0.0}
    return StageTimes(loader="threaded", parts=parts, sizes=(size,) * 8, work_seconds=(work,) * 8)


def profile(raw_size: int = 12_416, raw_work: float = 0.00002) -> Profile:
    """Return the profile of images of 2 kB and 64 pixels."""
    here = stages(2_000, 0.0001)
    return Profile(as_is=here, encode="restart", encodings={"restart": here, "raw": stages(raw_size, raw_work)})


def compared(found: Profile, free: int, data: int = 200_000_000) -> RawPixels:
    rows = what_ifs(found, {2: 20_000}, 2)
    raw = compare_raw(found, rows, warm=20_000, data_bytes=data, free_bytes=free)
    assert raw is not None
    return raw


def test_small_images_pay_from_memory() -> None:
    """The numbers of both sides are in the sentence: bytes, work, room and memory."""
    raw = compared(profile(), free=8 * 2**30)

    assert raw.pays and raw.fits and raw.gain == pytest.approx(5)
    assert raw.data_bytes == pytest.approx(200e6 * 6.208)
    assert raw.sentence == (
        "Raw pixels pay from the second epoch on: 12.4 kB instead of 2.0 kB per image, 0.020 ms instead of 0.100 ms "
        "of one thread; 1.2 GiB fit into free memory (8.0 GiB)."
    )


def test_without_the_memory_the_disk_decides() -> None:
    """Of 12 kB an image, some disks are fast enough; of 600 kB, none is."""
    small, large = compared(profile(), free=2**30), compared(profile(raw_size=600_000), free=2**30)

    assert not small.fits and small.pays and "HDD" not in small.faster_on and "NVMe SSD" in small.faster_on
    assert small.sentence.startswith("Raw pixels pay on a fast disk only")
    assert not large.pays and large.faster_on == ()
    assert large.sentence.endswith(f"is fast enough for {large.disk_bytes_per_second / 1e6:,.0f} MB/s.")


def test_pixels_that_save_no_work_do_not_pay() -> None:
    """However much memory there is."""
    raw = compared(profile(raw_work=0.0001), free=2**40)

    assert not raw.pays and raw.sentence.startswith("Raw pixels do not pay: 12.4 kB instead of 2.0 kB")


def test_raw_shards_are_compared_with_nothing() -> None:
    found = profile()

    assert compare_raw(replace(found, encode="raw"), [], warm=1, data_bytes=1, free_bytes=1) is None
    assert compare_raw(replace(found, encodings={}), [], warm=1, data_bytes=1, free_bytes=1) is None


def test_the_advice_has_the_command(tmp_path: Path) -> None:
    """Among the steps of a loader that decodes too slowly, and only if it pays."""
    found = found_by_hand(tmp_path)
    here = found.profile.encodings["restart"]
    cheap = replace(here, sizes=(200_000,) * 4, work_seconds=(0.0002,) * 4)

    def steps(memory: int) -> list[str]:
        profile = replace(found.profile, encodings={**found.profile.encodings, "raw": cheap})
        changed: Diagnosis = replace(found, profile=profile, free_bytes=memory)
        return [step for step in advice(changed) if "--encode raw" in step]

    assert steps(2**10) == []
    (step,) = steps(2**34)
    assert step.endswith(f"feedline shard {tmp_path} --encode raw --out OTHER/shards")

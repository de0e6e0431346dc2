"""Preparing own images that is killed goes on to the same bytes, whatever the form of the source."""

import json
import re
import shutil
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import OutputError, prepare_imagenet, verify

from ..trees import Files, write_tree
from .photos import classes, tarred
from .test_resume import child, cut

OPTIONS = ["--val-fraction", "0.34"]


def tree(root: Path) -> Files:
    return {p.relative_to(root).as_posix(): p.read_bytes() if p.is_file() else b"" for p in root.rglob("*")}


def source_of(form: str, place: Path) -> Path:
    if form == "folder":
        return write_tree(place / "photos", classes())
    return tarred(place / "photos.tar.gz", classes(), "w:gz")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folder", "tar.gz"])
def test_killed_at_any_point_it_goes_on_to_the_same_bytes(form: str, tmp_path: Path) -> None:
    command = ["imagefolder", str(source_of(form, tmp_path)), *OPTIONS]
    whole = tmp_path / "whole"
    done = child(whole, "kill", -1, command)
    assert done.returncode == 0, done.stderr
    operations = int(done.stdout.split()[-1])
    for point in sorted({*range(3, operations, operations // 5), *range(operations - 2, operations + 1)}):
        out = tmp_path / f"killed-{point}"
        assert child(out, "kill", point, command).returncode not in (0, 1, 2, 130)

        again = child(out, "kill", -1, command, workers=2)

        assert again.returncode == 0, again.stderr
        assert tree(out) == tree(whole), f"killed at operation {point} of {operations}"


@pytest.mark.slow
@pytest.mark.parametrize("each", [0, 10**9], ids=["each folder", "all at once"])
def test_after_a_power_cut_it_goes_on_to_the_same_bytes(each: int, tmp_path: Path) -> None:
    command, whole = ["prep", "imagefolder", str(source_of("folder", tmp_path)), *OPTIONS], tmp_path / "whole"
    done = cut(whole, -1, each, command)
    assert done.returncode == 0, done.stderr
    operations = int(done.stdout.split()[-1])
    for point in sorted({*range(6, operations, max(1, operations // 4)), operations - 1, operations}):
        out = tmp_path / f"cut-{point}"
        assert cut(out, point, each, command).returncode == 99
        assert cut(out, -1, each, command).returncode == 0
        assert tree(out) == tree(whole), f"cut at operation {point} of {operations}"


def test_what_was_left_behind_the_manifest_is_removed_and_other_options_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job of the same digests is done; one of another division must not be mixed in."""
    source, out = source_of("folder", tmp_path), tmp_path / "data"
    command = ["prep", "imagefolder", str(source), "--out", str(out)]
    assert run([*command, *OPTIONS]) == 0
    manifest = json.loads((out / "manifest.json").read_bytes())
    lines = [f"{s['name']} {s['splits'][0]} {s['digest']}" for s in manifest["sources"]]
    job = json.dumps({"command": "prep imagefolder", "settings": {"sources": lines}}).encode()
    write_tree(out, {".partial/job.json": job})
    assert run([*command, *OPTIONS]) == 0 and not (out / ".partial").exists() and verify(out).ok

    unfinished = tmp_path / "unfinished"
    shutil.copytree(out, unfinished)
    (unfinished / "manifest.json").unlink()
    write_tree(unfinished, {".partial/job.json": job})
    command[-1] = str(unfinished)
    assert run([*command, *OPTIONS, "--seed", "1"]) == 1
    assert "holds an unfinished prep imagefolder of other sources or settings" in capsys.readouterr().err
    assert run([*command, *OPTIONS]) == 0 and tree(unfinished) == tree(out)


@pytest.mark.parametrize("command", ["imagefolder", "imagenet"])
@pytest.mark.parametrize("repair", ["replace", "remove"])
def test_a_folder_with_a_damaged_image_is_repaired_and_the_same_command_goes_on(
    command: str, repair: str, tmp_path: Path, jpeg: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error of the sources advises to repair them, which changes their sizes and digests."""
    source, out = tmp_path / "source", tmp_path / "data"
    wnids = ["n01440764", "n01443537"]
    write_tree(source, {f"train/{wnid}/{wnid}_{n}.JPEG": jpeg for wnid in wnids for n in range(4)})
    damaged = source / f"train/{wnids[1]}/{wnids[1]}_2.JPEG"
    damaged.write_bytes(b"no image at all")
    words = ["prep", command, str(source), "--out", str(out)]
    assert run(words) == 1 and damaged.name in capsys.readouterr().err
    if repair == "replace":
        damaged.write_bytes(jpeg)
    else:
        damaged.unlink()

    assert run(words) == 0, capsys.readouterr().err
    assert verify(out).ok and len(list(out.rglob("*.JPEG"))) == (8 if repair == "replace" else 7)


def test_sources_that_changed_after_an_interrupt_are_refused_with_both_ways_out(tmp_path: Path, jpeg: bytes) -> None:
    source, out = tmp_path / "source", tmp_path / "data"
    write_tree(source, {f"train/n01440764/n01440764_{n}.JPEG": jpeg for n in range(4)})

    def stop(step: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_imagenet([source], out, progress=stop)
    (source / "train/n01440764/n01440764_0.JPEG").unlink()
    ways = "such as these sources before they changed; choose another directory with --out, or remove "
    with pytest.raises(OutputError, match=ways + re.escape(str(out))):
        prepare_imagenet([source], out)

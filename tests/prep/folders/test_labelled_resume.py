"""Preparing own images that is killed goes on to the same bytes, whatever the form of the source."""

import json
import shutil
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import verify

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

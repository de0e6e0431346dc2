"""The command line as a user meets it: help, JSON, bad input, exit codes."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import get_args

import click
import pytest
from click.testing import CliRunner

from feedline import __version__
from feedline.cli import options
from feedline.cli.main import COMMANDS, cli, run
from feedline.cli.prep import prep
from feedline.cli.train import train
from feedline.cli.training import recipe_options
from feedline.loaders import Interpolation, OnError
from feedline.prep import read_manifest, read_shard_manifest
from feedline.train import TrainConfig
from feedline.train.settings.names import LossName, MixMode, OptimiserName, Precision, RatePer, ScheduleName, Stem

from .program import TOP, feedline, sentence


@pytest.mark.parametrize("command", [*COMMANDS, *(f"prep {name}" for name in prep.commands)])
def test_every_command_has_help_and_stands_in_the_readme(command: str) -> None:
    """-h and --help say what it does, with an example, in 80 columns."""
    for flag in ("-h", "--help"):
        result = CliRunner().invoke(cli, [*command.split(), flag])
        assert result.exit_code == 0
        assert len(result.output) > 100
        usage = result.output.splitlines()[0]
        assert usage.endswith(("[OPTIONS]", "COMMAND [ARGS]...")) or f"feedline {command} " in result.output
        assert f"  Example:\n    feedline {command}" in result.output
        assert max(map(len, result.output.splitlines())) <= 80
    assert f"feedline {command}" in (TOP / "README.md").read_text("utf-8")


def test_help_imports_nothing_heavy() -> None:
    """`feedline -h` answers at once: click and nothing else."""
    code = (
        "import sys; from feedline.cli.main import run; run(['-h']); "
        "sys.exit(', '.join({'torch', 'numpy', 'pydantic', 'matplotlib', 'rich'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert result.returncode == 0, result.stderr
    assert "Usage" in result.stdout


def test_choices_of_the_help_are_those_of_the_trainer() -> None:
    """Help cannot import the trainer, so it has copies of the names."""
    assert get_args(Stem) == options.STEMS
    assert get_args(Precision) == options.PRECISIONS
    assert get_args(OnError) == options.ON_ERROR
    assert get_args(OptimiserName) == recipe_options.OPTIMISERS
    assert get_args(ScheduleName) == recipe_options.SCHEDULES
    assert get_args(RatePer) == recipe_options.RATES_PER
    assert get_args(LossName) == recipe_options.LOSSES
    assert get_args(MixMode) == recipe_options.MIX_MODES
    assert get_args(Interpolation) == recipe_options.INTERPOLATIONS


def test_every_setting_of_a_training_has_an_option_with_the_same_default() -> None:
    """``TrainConfig`` and ``feedline train`` have the same names and mean the same if nothing is said."""
    parsed = train.make_context("train", ["data", "--out", "run"]).params
    settings = vars(TrainConfig(root=Path("data"), out=Path("run"), device="cpu"))
    assert parsed.keys() - settings.keys() == {"records", "as_json", "dry_run"}
    assert {name: parsed[name] for name in settings} == settings | {"device": None}


@pytest.mark.parametrize(("text", "share"), [("1/40", 0.025), ("0.5", 0.5), ("1e-4", 1e-4)])
def test_a_share_may_be_written_as_a_fraction(text: str, share: float) -> None:
    """Recipes count in epochs: 2 of 16."""
    assert options.SHARE.convert(text, None, None) == share
    for wrong in ("1/0", "a", "1/2/3", ""):
        with pytest.raises(click.BadParameter, match="neither a number nor a fraction"):
            options.SHARE.convert(wrong, None, None)


def test_the_thread_prints_one_json_object_per_command(tmp_path: Path) -> None:
    """prep synthetic, prep imagenet, shard, verify: stdout is one JSON object, stderr has the rest."""
    archives, data = tmp_path / "archives", tmp_path / "data"
    steps = [
        ("prep", "synthetic", archives, "--classes", 2, "--images-per-class", 6, "--json"),
        ("prep", "imagenet", archives, "--out", data, "--json"),
        ("shard", data, "--json"),
        ("verify", data, "--decode", "--json"),
        ("verify", data / "shards", "--json"),
        ("loaders", "--json"),
    ]
    outputs = []
    for step in steps:
        result = feedline(*step)
        assert result.returncode == 0, result.stderr
        outputs.append(json.loads(result.stdout))
    made, prepared, sharded, verified, checked, loaders = outputs

    assert all(Path(path).is_file() for path in made["archives"])
    assert prepared["splits"]["train"] == {"classes": 2, "images": 12}
    assert sharded["splits"]["train"]["samples"] == 12
    assert verified == {
        "ok": True,
        "problems": [],
        "odd": [],
        "strangers": [],
        "formats": {"train": {"jpeg": 12}, "val": {"jpeg": 12}, "test": {"jpeg": 2}},
        "rotated": {"train": 0, "val": 0, "test": 0},
        "splits": {
            "train": {"classes": 2, "images": 12},
            "val": {"classes": 2, "images": 12},
            "test": {"classes": 0, "images": verified["splits"]["test"]["images"]},
        },
    }
    assert checked["splits"]["val"] == {"classes": 2, "images": 12}
    assert {row["loader"] for row in loaders["loaders"] if row["ready"]} >= {"imagefolder", "webdataset", "cached"}
    # ImageFolder's own convention holds: classes are the sorted wnids.
    manifest = read_manifest(data)
    assert [entry.id for entry in manifest.classes] == sorted(path.name for path in (data / "train").iterdir())


def test_tiny_imagenet_ends_in_class_folders(tmp_path: Path) -> None:
    """Val is labelled by its annotations, the images level is gone, boxes are kept, shards follow."""
    assert (
        run(
            [
                "prep",
                "synthetic",
                str(tmp_path),
                "--layout",
                "tiny-imagenet",
                "--classes",
                "3",
                "--images-per-class",
                "8",
            ]
        )
        == 0
    )
    archive = tmp_path / "tiny-imagenet-200.zip"
    assert run(["prep", "tiny-imagenet", str(archive), "--out", str(tmp_path / "tiny")]) == 0
    assert run(["shard", str(tmp_path / "tiny")]) == 0
    manifest = read_manifest(tmp_path / "tiny")
    with zipfile.ZipFile(archive) as source:
        rows = source.read("tiny-imagenet-200/val/val_annotations.txt").decode().splitlines()
        labels = {row.split("\t")[0]: row.split("\t")[1] for row in rows}
    placed = {path.name: path.parent.name for path in (tmp_path / "tiny" / "val").rglob("*.JPEG")}

    assert placed == labels
    assert manifest.splits["train"].per_class == (8, 8, 8)
    assert (tmp_path / "tiny" / "annotations" / "val_annotations.txt").is_file()
    assert read_shard_manifest(tmp_path / "tiny" / "shards").splits["train"].samples == 24


BAD_INPUT = [
    (["prep", "imagenet", "nowhere.tar", "--out", "data"], 1, "nowhere.tar does not exist; give the ILSVRC2012"),
    (["prep", "tiny-imagenet", "nowhere.zip", "--out", "data"], 1, "nowhere.zip does not exist; give the path of"),
    (["shard", "nowhere"], 1, "nowhere does not exist; make it with: feedline prep"),
    (["verify", "nowhere"], 1, "nowhere does not exist"),
    (["bench", "nowhere", "--out", "bench"], 1, "nowhere holds neither"),
    (["bench", ".", "--loader", "dally", "--out", "bench"], 2, "no loader 'dally'; choose one of: imagefolder"),
    (["train", ".", "--loader", "dally", "--out", "run"], 1, "'dally'.*choose one of: imagefolder"),
    (["report", "nowhere", "--out", "report.html"], 1, "nowhere"),
    (["prep", "synthetic", "a", "--classes", "0"], 1, "classes"),
    (["prep", "synthetic", "a", "--layout", "cifar"], 2, "'cifar' is not one of"),
    (["prep", "synthetic", "a", "--formats", "png"], 1, "options of the layout imagefolder, got ilsvrc2012"),
    (["prep", "synthetic", "a", "--layout", "imagefolder", "--formats", "jpg;png"], 1, "got jpg;png"),
    (["shard", ".", "--shard-size", "big"], 2, "'big' is not a size; write 256MB"),
    (["fly"], 2, "No such command 'fly'"),
    (["shard"], 2, "Missing argument 'SOURCE'"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), BAD_INPUT)
def test_bad_input_is_one_sentence_and_an_exit_code(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """1 for data and environment, 2 for usage; nothing is left behind that looks finished."""
    monkeypatch.chdir(tmp_path)

    assert run(arguments) == code
    told = sentence(capsys)
    assert re.search(message, told), told
    assert not list(tmp_path.rglob("manifest.json"))


def test_foreign_and_damaged_archives_are_named(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A truncated archive, an empty one, one that is no tar and a tar of other things: file, place, next step."""
    monkeypatch.chdir(tmp_path)
    good = (archives / "ILSVRC2012_img_train.tar").read_bytes()
    cases = {
        "cut.tar": (good[: len(good) * 2 // 3], "cut.tar is truncated|in cut.tar is truncated"),
        "empty.tar": (b"", "empty.tar is empty"),
        "text.tar": (
            b"not a tar at all " * 100,
            r"text.tar is a text \('not a tar at all .*, and no archive; download it again",
        ),
        "noise.tar": (b"\1\2not a tar" * 100, "noise.tar has no tar header at offset 0"),
        "zeros.tar": (bytes(4_000_000), "zeros.tar has a hole"),
    }
    for name, (data, message) in cases.items():
        Path(name).write_bytes(data)
        assert run(["prep", "imagenet", name, "--out", "data"]) == 1
        told = sentence(capsys)
        assert re.search(message, told), told
        assert not Path("data", "manifest.json").exists()
        shutil.rmtree("data", ignore_errors=True)


def test_a_directory_of_something_else_is_left_alone(
    archives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """prep names what is in the way and writes nothing beside it."""
    (tmp_path / "thesis.tex").write_text("precious")

    assert run(["prep", "imagenet", str(archives), "--out", str(tmp_path)]) == 1
    assert "holds something else (thesis.tex)" in sentence(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_preparing_twice_is_no_work_and_other_sources_are_refused(
    archives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A finished root is returned as it is; a train archive of another size does not slip into it."""
    data = tmp_path / "data"
    assert run(["prep", "imagenet", str(archives / "ILSVRC2012_img_train.tar"), "--out", str(data)]) == 0
    train_only = read_manifest(data)
    assert run(["prep", "imagenet", str(archives), "--out", str(data)]) == 0  # adds val and test
    assert set(train_only.splits) == {"train"}
    assert read_manifest(data).splits["train"] == train_only.splits["train"]
    assert set(read_manifest(data).splits) == {"train", "val", "test"}
    before = (data / "manifest.json").read_bytes()
    assert run(["prep", "imagenet", str(archives), "--out", str(data)]) == 0
    assert (data / "manifest.json").read_bytes() == before
    other = tmp_path / "other" / "ILSVRC2012_img_train.tar"
    other.parent.mkdir()
    other.write_bytes((archives / "ILSVRC2012_img_train.tar").read_bytes() + bytes(512))
    capsys.readouterr()

    assert run(["prep", "imagenet", str(other), "--out", str(data)]) == 1
    assert "choose another directory with --out" in sentence(capsys)


@pytest.mark.parametrize("encoding", ["cp1252", "cp936", "ascii", "utf-8"])
def test_every_console_code_page_can_carry_progress_and_errors(encoding: str, archives: Path, tmp_path: Path) -> None:
    """A Windows console cannot print everything; a bar or a file name must not end the work."""
    env = {"PYTHONIOENCODING": encoding}
    done = feedline("prep", "imagenet", archives, "--out", tmp_path / "data", env=env)
    failed = feedline("prep", "imagenet", tmp_path / "żółw-図書.tar", "--out", tmp_path / "x", env=env)

    assert done.returncode == 0, done.stderr
    assert failed.returncode == 1
    assert "does not exist" in failed.stderr
    assert "Traceback" not in done.stderr + failed.stderr


def test_the_version_is_the_one_of_the_front_door() -> None:
    """--version prints feedline.__version__ on stdout, with or without installed metadata."""
    result = feedline("--version")

    assert result.returncode == 0
    assert result.stdout == f"feedline, version {__version__}\n"

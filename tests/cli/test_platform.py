"""The command line on the platforms that users have: closed streams, broken pipes, odd names, odd environments."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from feedline.cli.main import run
from feedline.prep import SHARDS

PROGRAM = [sys.executable, "-c", "import sys; from feedline.cli.main import run; sys.exit(run(sys.argv[1:]))"]
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows' shells close no stream")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any bytes")

SETTINGS = ["--epochs", "1", "--image-size", "32", "--stem", "imagenet", "--batch-size", "16", "--device", "cpu"]
LOADER = ["--loader", "threaded", "--workers", "1"]


def shell(command: str, *words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a line of sh, in which "$@" is feedline with these words."""
    line = ["sh", "-c", command, "sh", *PROGRAM, *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, errors="replace", timeout=120, **options)  # type: ignore[call-overload]


def odd(folder: Path) -> Path:
    """Return a path below ``folder`` that a shell splits, Rich reads as markup, and UTF-8 cannot spell."""
    return folder / os.fsdecode(b"a [red]$HOME' [x] \xff\x1b[31m")


@posix_only
def test_the_table_does_not_go_to_stdout_if_stderr_is_closed() -> None:
    """stdout has the JSON object alone; no message goes into a file that the command opens."""
    done = shell('"$@" 2>&-', "summary", "--image-size", 32, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["layers"]
    assert done.stdout.count("\n") == 1


@posix_only
def test_a_closed_stdout_is_said_before_the_work(tmp_path: Path) -> None:
    """Only if something is to be printed on it."""
    done = shell('"$@" >&-', "verify", tmp_path / "none", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--json prints on stdout, which is closed; redirect stdout" in done.stderr
    done = shell('"$@" >&- <&-', "verify", tmp_path / "none")
    assert done.returncode == 1 and "does not exist" in done.stderr


@posix_only
def test_a_reader_that_has_ended_is_no_bug(root: Path) -> None:
    """Help ends quietly. Messages are dropped, and the command goes on to its JSON object."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*PROGRAM, "prep", "-h"], stdout=writing, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (1, b"")
    done = subprocess.run([*PROGRAM, "verify", str(root), "--json"], stdout=subprocess.PIPE, stderr=writing, timeout=60)
    os.close(writing)
    assert done.returncode == 0
    assert json.loads(done.stdout)["ok"] is True


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_below_stdout_is_one_sentence(root: Path) -> None:
    """As with ``> file`` on a full disk."""
    done = shell('"$@" >/dev/full', "verify", root, "--json")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("feedline: cannot print the JSON object on stdout: No space left on device")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_below_stderr_ends_nothing(root: Path, tmp_path: Path) -> None:
    """As with ``2> log`` on a full disk: messages are lost, the work and the exit code are not."""
    done = shell('"$@" 2>/dev/full', "prep", "imagefolder", root / "train", "--out", tmp_path / "data")
    assert done.returncode == 0 and (tmp_path / "data/manifest.json").is_file()
    assert shell('"$@" 2>/dev/full', "verify", tmp_path / "none").returncode == 1


@linux_only
def test_a_pipe_that_does_not_block_loses_nothing() -> None:
    """Programs with an event loop give such pipes to their children, and read them when they come to it."""
    fcntl = pytest.importorskip("fcntl")
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    process = subprocess.Popen([*PROGRAM, "train", "-h"], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        begin = pipe.read(1)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)  # the pipe is full
        text = (begin + pipe.read()).decode()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"") and len(text) > 8192
    assert text == subprocess.run([*PROGRAM, "train", "-h"], capture_output=True, text=True).stdout


@linux_only
def test_a_training_in_the_environment_of_a_cluster(root: Path, tmp_path: Path) -> None:
    """No home, no colours, the C locale, a rank's variables for one rank, an odd path; then an evaluation of it."""
    data, out = odd(tmp_path), tmp_path / "run [/x]"
    shutil.copytree(root, data)
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "TMPDIR")}
    environment |= {"LC_ALL": "C", "TERM": "dumb", "COLUMNS": "1", "NO_COLOR": "1", "PYTHONUTF8": "0"}
    environment |= {"WORLD_SIZE": "1", "MASTER_ADDR": "none.invalid", "MASTER_PORT": "x", "LOCAL_RANK": "0"}
    environment |= {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "OMP_NUM_THREADS": "1"}
    words = ["train", data, "--out", out, *SETTINGS, *LOADER, "--json"]
    done = shell('"$@"', *words, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["loader"] == "threaded"
    assert "\x1b" not in done.stderr
    assert not (tmp_path / "~").exists()
    done = shell('"$@"', "evaluate", out / "checkpoints/last.pt", data, *LOADER, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "run [/x]/checkpoints/last.pt: 0 of" in done.stderr


def test_variables_of_ranks_that_do_not_fit_are_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has the variable and the command, and does not advise another port."""
    words = ["train", str(root), "--out", str(tmp_path / "run"), *SETTINGS, *LOADER]
    start = "start the ranks with: torchrun --nproc-per-node=2 -m feedline.train"
    for variables, expected in (
        ({"WORLD_SIZE": "2"}, f"WORLD_SIZE is 2, but RANK is not set; {start}"),
        ({"RANK": "0"}, f"WORLD_SIZE is 2, but MASTER_ADDR and MASTER_PORT are not set; {start}"),
        ({"RANK": "2"}, f"RANK is 2, and WORLD_SIZE 2 has the ranks 0 to 1; {start}"),
        ({"RANK": "0", "MASTER_ADDR": "none.invalid", "MASTER_PORT": "1"}, "the name 'none.invalid' has no address"),
        ({"WORLD_SIZE": "two"}, "the environment variable WORLD_SIZE is 'two', which is no number of ranks"),
    ):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert run(words) == 1
        assert f"feedline: {expected}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@linux_only
def test_an_odd_path_goes_through_every_command(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Documents and messages can hold it, and the commands that they advise can be pasted into a shell."""
    data, out = odd(tmp_path), odd(tmp_path) / "out"
    shutil.copytree(root, data, ignore=shutil.ignore_patterns("val", "test"))
    bench = ["bench", str(data), "--loader", "threaded", "--workers", "1", "--image-size", "32", "--seconds", "0.1"]
    assert run([*bench, "--repeats", "1", "--out", str(out)]) == 0
    advised = capsys.readouterr().err.partition("with: ")[2].splitlines()[0]
    assert advised.startswith("feedline report $'")
    line = f'feedline() {{ "$@"; }}; set -- {advised.removeprefix("feedline ")}; printf %s "$2"'
    given = subprocess.run(["bash", "-c", line.encode()], capture_output=True, check=True).stdout
    assert given == os.fsencode(out)
    page = tmp_path / "[page] ü.html"
    assert run(["report", str(out), "--out", str(page)]) == 0
    assert "$&#39;" in page.read_text("utf-8") or "$'" in page.read_text("utf-8")
    shutil.rmtree(data / SHARDS)
    assert run(["shard", str(data), "--split", "train", "--out", str(data / SHARDS)]) == 0
    assert run(["verify", str(data / SHARDS), "--json"]) == 0
    assert "\x1b" not in capsys.readouterr().err


def test_colours_are_for_terminals_and_for_who_asks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FORCE_COLOR and NO_COLOR as https://no-color.org and Rich have them."""
    for name, value, coloured in (("TERM", "xterm", False), ("FORCE_COLOR", "1", True), ("NO_COLOR", "1", False)):
        monkeypatch.setenv(name, value)
        run(["doctor", str(tmp_path)])
        told = capsys.readouterr().err
        assert ("\x1b[32mok" in told) == coloured, name
        assert "?[" not in told


def test_an_advised_command_is_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On every system, for its own shell."""
    place = tmp_path / "my data"
    place.mkdir()
    assert run(["shard", str(place / "none"), "--out", "x"]) == 1
    capsys.readouterr()
    assert run(["verify", str(place)]) == 1
    told = capsys.readouterr().err
    command = told.partition("feedline prep imagefolder ")[2].partition(" --out")[0]
    if sys.platform != "win32":
        assert shlex.split(command) == [str(place)] or command == "FOLDER"
    assert f"'{place}'" in told or f'"{place}"' in told

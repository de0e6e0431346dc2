"""The doctor: invented machines get known findings, and the real machine is examined."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feedline.benchmarks import Environment, Machine
from feedline.benchmarks.doctor.doctor import run_checks, usable
from feedline.benchmarks.doctor.finding import Finding
from feedline.benchmarks.doctor.machine_facts import DataFolder, MachineFacts, TorchBuild, collect_facts
from feedline.cli.main import run as feedline
from feedline.prep import MANIFEST, SHARDS, read_manifest, read_shard_manifest, write_document
from feedline.prep.limits.tasks import TaskLimit, no_task_left

HEALTHY = MachineFacts(
    environment=Environment(
        machine=Machine(cpu="Xeon", cpus=16, memory_gib=128, gpu="NVIDIA H100", system="Linux x86_64"),
        platform="Linux-6.8",
        python="3.12.1",
        start_method="fork",
        driver="580.65.06",
        shm_bytes=64 * 2**30,
        governor="performance",
        load_average=0.2,
        libraries={"simplejpeg": "1.9.0"},
    ),
    machine_cpus=16,
    affinity_cpus=16,
    cpu_quota=None,
    torch=TorchBuild(
        cuda="13.0", sees_gpu=True, architectures=("sm_80", "sm_90", "sm_120"), capabilities=((9, 0),), threads=16
    ),
    visible_devices=None,
    open_files=65536,
    open_files_hard=65536,
    mappings=65530,
    place=DataFolder(path="/data", free_bytes=10**12, filesystem="ext4", storage="nvme"),
    pillow="12.0.0 (SIMD)",
    pillow_reads_jpeg=True,
    libjpeg_turbo="3.1.0",
    missing_loaders={},
    console="utf-8",
    long_paths=None,
)
WINDOWS = replace(
    HEALTHY,
    environment=replace(
        HEALTHY.environment,
        machine=replace(HEALTHY.environment.machine, system="Windows AMD64", gpu=None),
        platform="Windows-11",
        start_method="spawn",
        driver=None,
        shm_bytes=None,
        governor=None,
        load_average=None,
    ),
    affinity_cpus=None,
    torch=TorchBuild(cuda=None, sees_gpu=False, architectures=(), capabilities=(), threads=16),
    open_files=None,
    open_files_hard=None,
    mappings=None,
    place=DataFolder(path="D:\\data", free_bytes=10**12, filesystem="NTFS", storage=None),
    pillow="12.0.0",
    missing_loaders={"dali": "pip install 'feedline[dali]'"},
    console="cp1252",
    long_paths=False,
)


def machine(**changes: Any) -> MachineFacts:
    """Return the healthy machine with another environment."""
    return replace(HEALTHY, environment=replace(HEALTHY.environment, **changes))


def torch(**changes: Any) -> MachineFacts:
    """Return the healthy machine with another torch."""
    return replace(HEALTHY, torch=replace(HEALTHY.torch, **changes))


def place(**changes: Any) -> MachineFacts:
    """Return the healthy machine with another disk."""
    return replace(HEALTHY, place=replace(HEALTHY.place, **changes))


def about(facts: MachineFacts, subject: str) -> Finding:
    """Return the only finding about ``subject``."""
    (finding,) = (finding for finding in run_checks(facts) if finding.subject == subject)
    return finding


def test_a_healthy_machine_needs_no_fix() -> None:
    """Every finding is ok and has no command."""
    found = run_checks(HEALTHY)

    assert {finding.level for finding in found} == {"ok"}
    assert not any(finding.mend for finding in found)
    assert usable(found)


def test_every_other_finding_has_a_consequence() -> None:
    """A finding that is not ok has a consequence, even on the worst machine."""
    worst = replace(WINDOWS, pillow_reads_jpeg=False, torch=replace(WINDOWS.torch, threads=99), libjpeg_turbo=None)

    assert all(finding.consequence for finding in run_checks(worst) if finding.level != "ok")


def test_windows_gets_findings_about_long_paths_antivirus_and_code_page() -> None:
    """The commands run on Windows, and there are no findings about /dev/shm, governors or ulimit."""
    subjects = {finding.subject: finding for finding in run_checks(WINDOWS)}

    assert "LongPathsEnabled /t REG_DWORD /d 1" in (subjects["long paths"].mend or "")
    assert "Add-MpPreference -ExclusionPath 'D:\\data'" in (subjects["antivirus"].mend or "")
    assert subjects["console"].mend == "chcp 65001 && set PYTHONUTF8=1"
    assert subjects["loaders"].level == "ok" and "Linux" in subjects["loaders"].found
    assert subjects["pillow"].level == "ok"  # Pillow-SIMD would need a compiler there
    assert not {"/dev/shm", "clock", "load", "open files"} & set(subjects)
    assert usable(run_checks(WINDOWS))


def test_a_container_with_half_a_cpu_gets_warnings_about_quota_and_threads() -> None:
    """The finding names the quota and the machine's CPUs; the fix limits OpenMP to the granted CPU."""
    facts = replace(machine(machine=replace(HEALTHY.environment.machine, cpus=1)), cpu_quota=0.5)

    assert about(facts, "cpu").level == "warning"
    assert about(facts, "cpu").found.startswith("1 usable of 16 CPUs, by a quota of 0.5")
    assert about(facts, "threads").level == "warning"
    assert about(facts, "threads").mend == "export OMP_NUM_THREADS=1"


def test_an_affinity_is_only_a_note() -> None:
    """Fewer CPUs than the machine has are reported, because other programs may not respect the affinity."""
    facts = replace(machine(machine=replace(HEALTHY.environment.machine, cpus=4)), affinity_cpus=4)

    assert about(facts, "cpu").level == "note"
    assert "4 usable of 16 CPUs, by an affinity of 4" in about(facts, "cpu").found


@pytest.mark.parametrize(("size", "level"), [(64 * 2**20, "warning"), (2 * 2**30, "ok")])
def test_shared_memory_is_compared_with_what_workers_need(size: int, level: str) -> None:
    """Docker's 64 MB do not hold the batches of 16 workers, two of 256 images each; 2 GiB do."""
    finding = about(machine(shm_bytes=size), "/dev/shm")

    assert finding.level == level
    assert "need 1.2 GB" in finding.found
    assert ("--shm-size=2g" in (finding.mend or "")) == (level == "warning")


def test_a_low_limit_on_open_files_is_raised_as_far_as_it_goes() -> None:
    """The user can raise macOS's 256 up to the hard limit; only more than that needs root."""
    assert about(replace(HEALTHY, open_files=256), "open files").mend == "ulimit -n 4096"
    assert about(replace(HEALTHY, open_files=256, open_files_hard=2048), "open files").mend == "ulimit -n 2048"
    assert "sudo" in (about(replace(HEALTHY, open_files=256, open_files_hard=256), "open files").mend or "")


def test_a_limit_on_threads_and_processes_is_compared_with_a_training() -> None:
    """16 workers take some threads each; the finding is the sentence of the loader that reaches the limit."""
    limit = TaskLimit(limit=200, used=100, whose="this user", raised_by="ulimit -u 4096")
    assert about(replace(HEALTHY, tasks=replace(limit, limit=4096)), "tasks").level == "ok"
    finding = about(replace(HEALTHY, tasks=limit), "tasks")
    sentence = no_task_left(limit).sentence
    assert finding.level == "warning" and "200 threads and processes, and 100 run" in finding.found
    assert sentence == f"{finding.found}, so {finding.consequence}; {finding.mend}"
    assert sentence.endswith("use a smaller --workers, end other programs, or raise the limit: ulimit -u 4096")


def test_what_sockets_and_names_cannot_do_is_a_note() -> None:
    """feedline works; other programs do not."""
    assert about(replace(HEALTHY, temporary="/" + "x" * 90), "temporary").mend == "export TMPDIR=/tmp"
    assert "temporary" not in {finding.subject for finding in run_checks(replace(HEALTHY, temporary="/tmp/job.7"))}
    finding = about(replace(HEALTHY, unresolved_name="node-7"), "host name")
    assert "'node-7' has no address" in finding.found and "--local-addr 127.0.0.1" in (finding.mend or "")


def test_a_cache_that_cannot_be_written_is_a_warning() -> None:
    """As of a user without a home."""
    finding = about(replace(HEALTHY, unwritable_cache="/.cache/feedline"), "cache")
    assert finding.level == "warning" and "/.cache/feedline" in finding.found
    assert "NUMBA_CACHE_DIR" in (finding.mend or "")


def test_the_number_of_shards_is_compared_with_the_limits() -> None:
    """576 shards are no reason to raise the limit on open files; 60,000 need more mappings than a low limit."""
    few = replace(place(shards=576), open_files=1024)
    assert about(few, "open files").level == about(few, "mappings").level == "ok"
    assert "576 shards need none" in about(few, "open files").found
    assert about(place(shards=60_000), "mappings").level == "ok"
    many = about(replace(place(shards=60_000), mappings=30_000), "mappings")
    assert many.level == "warning" and "30,000 per process, but 60,000 shards need 36,864" in many.found
    assert many.mend and many.mend.startswith("sudo sysctl -w vm.max_map_count=73728")


def test_the_shards_of_the_folder_are_counted(root: Path, tmp_path: Path) -> None:
    """Those of its largest split."""
    splits = read_shard_manifest(root / SHARDS).splits
    assert collect_facts(root).place.shards == max(len(split.shards) for split in splits.values()) > 1
    assert collect_facts(tmp_path).place.shards is None


@pytest.mark.parametrize(
    ("built", "driver", "needed"),
    [("13.0", "535.104.05", 580), ("12.8", "470.57", 525), ("11.8", "418.1", 450)],
)
def test_an_old_driver_is_named_with_the_one_that_is_needed(built: str, driver: str, needed: int) -> None:
    """The major version of CUDA decides; torch itself only reports that there is no GPU."""
    facts = replace(machine(driver=driver), torch=replace(HEALTHY.torch, cuda=built, sees_gpu=False, capabilities=()))
    finding = about(facts, "gpu")

    assert finding.level == "warning"
    assert f"driver {driver}" in finding.found
    assert f"CUDA {built} needs driver {needed} or newer" in (finding.consequence or "")


def test_a_driver_of_the_same_cuda_major_is_good_enough() -> None:
    """Driver 525 runs every CUDA 12, and a newer driver runs every older CUDA."""
    for driver in ("525.60.13", "595.10"):
        assert about(replace(machine(driver=driver), torch=replace(HEALTHY.torch, cuda="12.9")), "gpu").level == "ok"


def test_a_gpu_that_torch_does_not_use_is_a_warning_with_the_reason() -> None:
    """The reasons: a CPU build, CUDA_VISIBLE_DEVICES, no code for the GPU's generation."""
    unseen = {"sees_gpu": False, "capabilities": ()}

    assert "without CUDA" in about(torch(cuda=None, architectures=(), **unseen), "gpu").found
    assert about(replace(torch(**unseen), visible_devices=""), "gpu").mend == "unset CUDA_VISIBLE_DEVICES"
    assert "compute capability 7.0" in (about(torch(capabilities=((7, 0),)), "gpu").consequence or "")
    assert about(torch(capabilities=((12, 1),)), "gpu").level == "ok"  # by the code for 12.0


def test_a_cuda_build_without_a_gpu_is_a_note() -> None:
    """Models train on the CPU, so feedline works."""
    facts = machine(machine=replace(HEALTHY.environment.machine, gpu=None), driver=None)
    finding = about(replace(facts, torch=replace(HEALTHY.torch, sees_gpu=False, capabilities=())), "gpu")

    assert finding.level == "note"
    assert "CUDA 13.0" in finding.found and "--gpus all" in (finding.mend or "")


@pytest.mark.parametrize(
    ("capability", "level"), [((8, 0), "ok"), ((8, 6), "note"), ((7, 5), "note"), ((8, 9), "ok"), ((10, 0), "ok")]
)
def test_gpus_with_a_jpeg_engine_are_distinguished_from_those_without(capability: tuple[int, int], level: str) -> None:
    """A100, Ada, Hopper and Blackwell have one; consumer Ampere and Turing do not."""
    facts = torch(capabilities=(capability,), architectures=("sm_75", "sm_80", "sm_100"))

    assert about(facts, "gpu decoder").level == level


def test_slow_storage_needs_shards_and_a_full_disk_is_a_problem() -> None:
    """Hard disks and networks give a warning; without space feedline cannot work."""
    for storage in ("hdd", "network"):
        assert about(place(storage=storage), "storage").mend == "feedline shard /data"
    assert about(place(storage="virtual"), "storage").level == "ok"
    levels = [about(place(free_bytes=size), "space").level for size in (10**8, 5 * 10**9, 10**11, 10**12)]
    assert levels == ["problem", "warning", "note", "ok"]
    assert not usable(run_checks(place(free_bytes=10**8)))


def test_pillow_is_checked_for_its_jpeg_library() -> None:
    """Pillow without JPEG is a problem, a slow JPEG library is a warning, plain Pillow is a note."""
    assert about(replace(HEALTHY, pillow="12.0.0"), "pillow").level == "note"
    assert about(replace(HEALTHY, libjpeg_turbo=None), "pillow").level == "warning"
    broken = replace(HEALTHY, pillow_reads_jpeg=False, libjpeg_turbo=None)
    assert about(broken, "pillow").level == "problem"
    assert not usable(run_checks(broken))


def test_unknown_facts_bring_no_finding() -> None:
    """A check with unknown facts returns no finding."""
    unknown = replace(
        machine(shm_bytes=None, governor=None, load_average=None, libraries={}),
        place=DataFolder(path="/data", free_bytes=None, filesystem=None, storage=None),
        open_files=None,
        machine_cpus=None,
        torch=replace(HEALTHY.torch, capabilities=()),
    )
    subjects = {finding.subject for finding in run_checks(unknown)}

    silent = {"/dev/shm", "clock", "load", "simplejpeg", "space", "storage", "open files", "gpu decoder"}
    assert not subjects & silent


def test_this_machine_is_examined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes findings to stderr, and one JSON object with findings and facts to stdout."""
    code = feedline(["doctor", str(tmp_path), "--json"])
    captured = capsys.readouterr()
    report = json.loads(captured.out)

    assert code == (0 if report["ok"] else 1)
    assert report["facts"]["place"]["path"] == str(tmp_path)
    assert report["facts"]["environment"]["python"] == sys.version.split()[0]
    assert report["facts"]["torch"]["threads"] >= 1
    assert {"python", "cpu", "gpu", "pillow", "loaders"} <= {finding["subject"] for finding in report["findings"]}
    for finding in report["findings"]:
        assert finding["found"] in captured.err
        assert (finding["mend"] or "") in captured.err


def test_a_machine_on_which_feedline_cannot_work_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full."""
    facts = collect_facts(tmp_path)
    full = replace(facts, place=replace(facts.place, free_bytes=0))
    monkeypatch.setattr("feedline.benchmarks.doctor.machine_facts.collect_facts", lambda place: full)

    assert feedline(["doctor", str(tmp_path)]) == 1
    assert "problem" in capsys.readouterr().err


def before_all_others(modules: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run feedline with a folder of modules first on its path; Windows' embeddable Python ignores PYTHONPATH."""
    code = f"import sys; sys.path.insert(0, {str(modules)!r}); from feedline.cli.main import run; "
    return subprocess.run([sys.executable, "-c", f"{code}sys.exit(run({arguments!r}))"], capture_output=True, text=True)


def test_a_broken_torch_is_one_sentence(tmp_path: Path) -> None:
    """The library that most often fails to load must not crash the doctor."""
    (tmp_path / "torch.py").write_text('raise OSError("c10.dll could not be found")')
    done = before_all_others(tmp_path, ["doctor"])

    assert done.returncode == 1
    assert "c10.dll could not be found" in done.stderr and "pip install --force-reinstall torch" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_library_is_a_finding_with_its_command(tmp_path: Path) -> None:
    """Loaders that need the library are not ready; the doctor continues without them."""
    (tmp_path / "torchvision.py").write_text('raise ModuleNotFoundError("none here", name="torchvision")')
    done = before_all_others(tmp_path, ["doctor", "--json"])
    found = {finding["subject"]: finding for finding in json.loads(done.stdout)["findings"]}

    assert found["loaders"]["level"] == "warning" and "imagefolder" in found["loaders"]["found"]
    assert found["loaders"]["mend"].startswith("pip install")


def test_old_shards_in_the_folder_get_a_warning_with_the_command(root: Path, tmp_path: Path) -> None:
    """The facts come from the manifests; a folder without them has no such finding."""
    copy = Path(shutil.copytree(root, tmp_path / "data"))
    assert not [finding for finding in run_checks(collect_facts(copy)) if finding.subject == "shards"]
    manifest = read_manifest(copy)
    train = replace(manifest.splits["train"], images=85)
    write_document(copy / MANIFEST, replace(manifest, splits={**manifest.splits, "train": train}))

    finding = about(collect_facts(copy), "shards")
    assert finding.level == "warning"
    assert "train has 84 samples in the shards and 85 images in the class folders" in finding.found
    assert finding.mend == f"move {copy / SHARDS} away, then write the shards again: feedline shard {copy}"

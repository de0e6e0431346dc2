"""The limits of cgroups: of both versions, of every group above the process, and of containers."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from feedline.prep.limits.cgroups import memory_limit, task_limit
from feedline.prep.limits.cpus import cgroup_quota


class Machine:
    """A folder of cgroups as on another machine, and the file that names the groups of a process."""

    def __init__(self, place: Path, own: str) -> None:
        self.mount, self.own = place / "cgroup", place / "own"
        self.mount.mkdir()
        self.own.write_text(own)

    def write(self, path: str, text: str) -> None:
        """Write a file of a group."""
        file = self.mount / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def quota(self) -> float | None:
        """Return the quota as feedline reads it."""
        return cgroup_quota(self.mount, self.own)


def test_the_least_quota_of_all_groups_above_counts(tmp_path: Path) -> None:
    """As under systemd: the slice has the limit, the scope of the process has none, the root cannot have one."""
    machine = Machine(tmp_path, "0::/user.slice/user-1.slice/session.scope\n")
    assert machine.quota() is None
    machine.write("user.slice/user-1.slice/session.scope/cpu.max", "max 100000")
    machine.write("user.slice/user-1.slice/cpu.max", "150000 100000")
    machine.write("user.slice/cpu.max", "400000 100000")
    assert machine.quota() == 1.5
    machine.write("user.slice/user-1.slice/session.scope/cpu.max", "50000 100000")
    assert machine.quota() == 0.5
    machine.write("system.slice/cpu.max", "10000 100000")  # of others
    assert machine.quota() == 0.5


def test_groups_of_version_1_have_a_folder_for_each_controller(tmp_path: Path) -> None:
    """Systems with both versions mount the second in a folder of its own, without controllers."""
    machine = Machine(tmp_path, "12:memory:/job/7\n4:cpu,cpuacct:/job\n3:pids:/\n1:name=systemd:/init\n0::/init\n")
    machine.write("cpu,cpuacct/job/cpu.cfs_quota_us", "-1")
    machine.write("cpu,cpuacct/job/cpu.cfs_period_us", "100000")
    assert machine.quota() is None
    machine.write("cpu,cpuacct/job/cpu.cfs_quota_us", "250000")
    assert machine.quota() == 2.5
    machine.write("memory/job/memory.limit_in_bytes", "2000")
    machine.write("memory/job/memory.usage_in_bytes", "500")
    machine.write("memory/job/7/memory.limit_in_bytes", "9223372036854771712")  # none
    found = memory_limit(machine.mount, machine.own)
    assert found and (found.limit, found.used) == (2000, 500)
    machine.write("pids/pids.max", "max")
    assert task_limit(machine.mount, machine.own) is None
    machine.write("unified/init/cpu.max", "100000 100000")
    assert machine.quota() == 1.0


@pytest.mark.parametrize("own", ["0::/docker/4711\n", "0::/../other\n", "0::/\n", ""])
def test_a_container_has_its_limits_at_the_top(own: str, tmp_path: Path) -> None:
    """Its file may name a path of the host, or one outside the container's view."""
    machine = Machine(tmp_path, own)
    machine.write("cpu.max", "200000 100000")
    machine.write("memory.max", "4000000000")
    machine.write("pids.max", "100")
    machine.write("pids.current", "97")
    assert machine.quota() == 2.0
    grants = memory_limit(machine.mount, machine.own), task_limit(machine.mount, machine.own)
    assert [grant and grant.limit for grant in grants] == [4000000000, 100]
    assert grants[1] and grants[1].used == 97


@pytest.mark.parametrize("text", ["", "nonsense", "0 100000", "100000 0", "1 2 3", "\x00", "max"])
def test_an_odd_quota_is_none(text: str, tmp_path: Path) -> None:
    """No reading of the system's files ends a program."""
    machine = Machine(tmp_path, "0::/a\n")
    machine.write("a/cpu.max", text)
    assert machine.quota() is None


def test_the_group_with_the_fewest_tasks_left_counts(tmp_path: Path) -> None:
    """Not the one with the least limit, which may be far away."""
    machine = Machine(tmp_path, "0::/a/b\n")
    machine.write("a/pids.max", "1000")
    machine.write("a/pids.current", "990")
    machine.write("a/b/pids.max", "500")
    machine.write("a/b/pids.current", "20")
    found = task_limit(machine.mount, machine.own)
    assert found and (found.limit, found.used, found.folder) == (1000, 990, machine.mount / "a")


@pytest.fixture
def half_a_cpu() -> Iterator[Path]:
    """Yield the file of a new group below the root that grants half a CPU, to which a process can be added."""
    for top, limits in (
        (Path("/sys/fs/cgroup/cpu"), {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}),
        (Path("/sys/fs/cgroup"), {"cpu.max": "50000 100000"}),
    ):
        group = top / f"feedline-test-{uuid.uuid4().hex[:8]}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            for name, text in limits.items():
                (group / name).write_text(text)
        except OSError:
            group.rmdir()
            continue
        below = group / "below"
        below.mkdir()
        yield below / "cgroup.procs"
        below.rmdir()
        group.rmdir()
        return
    pytest.skip("needs the right to make cgroups")


def test_this_machine_has_the_quota_of_a_group_above(half_a_cpu: Path) -> None:
    """A process in a group below the one with the limit has one usable CPU."""
    code = "import sys; sys.stdin.readline(); from feedline.prep import usable_cpus; "
    code += "from feedline.prep.limits.cpus import cgroup_quota; print(usable_cpus(), cgroup_quota())"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        half_a_cpu.write_text(str(process.pid))
        told, _ = process.communicate("go\n", timeout=60)
    assert told.split() == ["1", "0.5"]

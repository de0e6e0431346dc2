"""The list of checks, in the order of the report, and the functions that run them.

The checks are pure functions, so that other machines can be tested with invented facts.
"""

from collections.abc import Callable, Sequence

from . import data_checks as data, limit_checks as limits, machine_checks as machine, software_checks as software
from .finding import Finding
from .machine_facts import MachineFacts

CHECKS: tuple[Callable[[MachineFacts], Finding | None], ...] = (
    software.python,
    machine.cpus,
    machine.threads,
    machine.load,
    machine.governor,
    machine.memory,
    limits.shm,
    limits.open_files,
    limits.mappings,
    limits.tasks,
    limits.sockets,
    limits.host_name,
    limits.cache,
    machine.space,
    machine.storage,
    machine.shards,
    data.formats,
    data.orientation,
    software.gpu,
    software.decoder,
    software.pillow,
    software.simplejpeg,
    software.loaders,
    software.console,
    software.long_paths,
    software.antivirus,
)


def run_checks(facts: MachineFacts) -> tuple[Finding, ...]:
    """Return the findings about a machine, at most one of each check."""
    found = (check(facts) for check in CHECKS)
    return tuple(finding for finding in found if finding is not None)


def usable(findings: Sequence[Finding]) -> bool:
    """Return whether feedline can work on the machine, that is, whether no finding is a problem."""
    return all(finding.level != "problem" for finding in findings)

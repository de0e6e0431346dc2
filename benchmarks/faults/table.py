"""The table of injected faults, from the records of one machine."""

from collections import Counter
from collections.abc import Callable, Sequence

from .record import FaultsRecord, Outcome

COLUMNS: dict[str, Callable[[Sequence[Outcome]], int]] = {
    "injected": len,
    "ended the command": lambda found: sum(one.code != 0 for one in found),
    "right in the end": lambda found: sum(one.survived and not one.wrong and not one.lost for one in found),
    "samples skipped": lambda found: sum(one.skipped for one in found),
    "samples lost": lambda found: sum(one.lost for one in found),
    "wrong results": lambda found: sum(one.wrong for one in found),
    "hangs": lambda found: sum(one.hung for one in found),
    "crashes": lambda found: sum(one.crashed for one in found),
    "left behind": lambda found: sum(one.left for one in found),
}
MANY = 8
"""Misses from which the table names a fault that was never met."""
WAYS = {
    "command": "the command in the message",
    "same command": "the same command, as the message says",
    "other out": "another --out, as the message says",
    "nothing said": "the same command after an end without a message",
}


def table(records: Sequence[FaultsRecord]) -> str:
    """Return the figures by kind of fault as Markdown, and what else the records of one machine say together."""
    outcomes = [one for record in records for one in record.outcomes]
    met = [one for one in outcomes if one.met]
    rows = [(kind, [one for one in met if one.kind == kind]) for kind in sorted({one.kind for one in met})]
    lines = [
        f"| fault | {' | '.join(COLUMNS)} |",
        f"|---|{'---:|' * len(COLUMNS)}",
        *(_line(kind, found) for kind, found in [*rows, ("all", met)]),
        "",
        " ".join([_targets(met), _ways(met), _memory(met), _not_met(outcomes), _versions(records)]).strip(),
    ]
    missing = sorted({kind for record in records for kind in record.not_injected} - {one.kind for one in met})
    if missing:
        lines += ["", f"Not injected here: {', '.join(missing)}."]
    return "\n".join(line.replace("  ", " ") for line in lines)


def heading(records: Sequence[FaultsRecord]) -> str:
    """Return how many of the faults that the records are to hold were injected, and from which seeds."""
    done, planned = (sum(numbers) for numbers in zip(*((one.injected, one.faults) for one in records), strict=True))
    seeds = sorted(record.seed for record in records)
    number = f"{done}" if done >= planned else f"{done} of {planned}"
    return f"{number} faults with seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _line(name: str, found: Sequence[Outcome]) -> str:
    return f"| {name} | {' | '.join(str(count(found)) for count in COLUMNS.values())} |"


def _targets(outcomes: Sequence[Outcome]) -> str:
    names = sorted({one.target for one in outcomes})
    return f"Disturbed: {', '.join(f'{name} {sum(one.target == name for one in outcomes)}' for name in names)}."


def _ways(outcomes: Sequence[Outcome]) -> str:
    """Return how often each kind of advice was followed."""
    used = [way for one in outcomes for way in one.ways]
    if not used:
        return "No command had to be repeated."
    return f"Followed: {', '.join(f'{used.count(way)} times {text}' for way, text in WAYS.items() if way in used)}."


def _memory(outcomes: Sequence[Outcome]) -> str:
    grown = [one.grown_bytes for one in outcomes if one.grown_bytes is not None]
    if not grown:
        return ""
    return f"Memory grew by at most {max(0, *grown) / 1e6:.1f} MB more in {len(grown)} disturbed epochs that went on."


def _not_met(outcomes: Sequence[Outcome]) -> str:
    number = sum(not one.met for one in outcomes)
    if not number:
        return ""
    met = {(one.kind, one.target) for one in outcomes if one.met}
    never = Counter((one.kind, one.target) for one in outcomes if (one.kind, one.target) not in met)
    named = [f"{kind} in {target} ({tries} times)" for (kind, target), tries in sorted(never.items()) if tries >= MANY]
    said = f" Never met: {', '.join(named)}." if named else ""
    return f"{number} further faults were not met and do not count.{said}"


def _versions(records: Sequence[FaultsRecord]) -> str:
    """Return the commits, if there is more than one."""
    numbers: dict[str, int] = {}
    for part in (part for record in records for part in record.parts):
        name = f"{(part.code.commit or part.code.feedline)[:7]}{', changed' if part.code.dirty else ''}"
        numbers[name] = numbers.get(name, 0) + part.outcomes
    if len(numbers) < 2:
        return ""
    return f"Commits: {', '.join(f'{name} ({number})' for name, number in numbers.items())}."

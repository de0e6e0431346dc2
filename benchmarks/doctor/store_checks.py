"""Checks of a store: whether its shards can be read, in ranges, and how many images a second it can deliver.

Every check is a pure function from facts to a finding. It returns None if its facts are unknown.
"""

from collections.abc import Callable

from .finding import Finding
from .store_facts import StoreFacts

SLOW_LATENCY = 0.2  # seconds; a store in the same region answers in 10 to 100 ms


def readable(facts: StoreFacts) -> Finding:
    """Check whether there are shards behind the URL."""
    if facts.problem is not None:
        return Finding(subject="store", level="problem", found=facts.problem, consequence="nothing can be read from it")
    found = (
        f"{facts.url} has {facts.samples:,} samples in shards of {facts.bytes / 1e9:.3g} GB, read by {facts.package}"
    )
    return Finding(subject="store", level="ok", found=found)


def credentials(facts: StoreFacts) -> Finding:
    """Report where credentials were found."""
    found = f"credentials are in {', '.join(facts.credentials)}" if facts.credentials else "there are no credentials"
    return Finding(subject="credentials", level="ok" if facts.credentials or not facts.problem else "note", found=found)


def ranges(facts: StoreFacts) -> Finding | None:
    """Check whether the store serves parts of files."""
    if facts.ranges is None:
        return None
    if facts.ranges:
        return Finding(subject="ranges", level="ok", found="the store serves ranges of bytes")
    return Finding(
        subject="ranges",
        level="warning",
        found="the store answers a request for a range with the whole file",
        consequence="each shard comes over one connection and takes its size in memory meanwhile",
        mend="use a server of ranges, such as nginx, or write smaller shards: feedline shard --shard-size 64MB",
    )


def latency(facts: StoreFacts) -> Finding | None:
    """Check how soon the store answers."""
    if facts.latency_seconds is None:
        return None
    slow = facts.latency_seconds > SLOW_LATENCY
    return Finding(
        subject="latency",
        level="note" if slow else "ok",
        found=f"a request for one byte takes {1000 * facts.latency_seconds:.1f} ms (median)",
        consequence="a loader waits longer for its first batch; shards are fetched ahead of those after it"
        if slow
        else None,
        mend="read from a store in the same region" if slow else None,
    )


def bandwidth(facts: StoreFacts) -> Finding | None:
    """Report how many bytes and images a second come from the store before anything is in the cache."""
    if facts.bytes_per_second is None or facts.one_bytes_per_second is None or not facts.bytes:
        return None
    images = facts.bytes_per_second * facts.samples / facts.bytes
    return Finding(
        subject="bandwidth",
        level="ok",
        found=f"{facts.bytes_per_second / 1e6:,.0f} MB/s with parallel requests, "
        f"{facts.one_bytes_per_second / 1e6:,.0f} MB/s with one at a time",
        consequence=f"a first epoch cannot be faster than {images:,.0f} images/s on this machine, by the mean bytes of "
        "an image",
    )


def listing(facts: StoreFacts) -> Finding | None:
    """Report whether the store lists its files."""
    if facts.listing is None:
        return None
    found = "the store lists its files" if facts.listing else "the store does not list its files"
    return Finding(subject="listing", level="ok", found=f"{found}; loaders take the names from the manifest")


def cache(facts: StoreFacts) -> Finding | None:
    """Check whether the whole set fits into the cache."""
    if not facts.cache:
        return None
    fits = facts.bytes <= facts.cache_bytes
    held = f"the cache {facts.cache} may hold {facts.cache_bytes / 1e9:.3g} GB"
    return Finding(
        subject="cache",
        level="ok" if fits else "note",
        found=f"{held}, and the shards have {facts.bytes / 1e9:.3g} GB",
        consequence=None if fits else "each epoch fetches again what did not fit",
        mend=None if fits else "FEEDLINE_CACHE=FOLDER on a larger disk, or --cache-size",
    )


CHECKS: tuple[Callable[[StoreFacts], Finding | None], ...] = (
    readable,
    credentials,
    ranges,
    latency,
    bandwidth,
    listing,
    cache,
)


def check_store(facts: StoreFacts) -> tuple[Finding, ...]:
    """Return the findings about a store, at most one of each check."""
    return tuple(finding for check in CHECKS if (finding := check(facts)) is not None)

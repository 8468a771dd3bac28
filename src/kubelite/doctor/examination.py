"""All subjects of an examination, run side by side within a deadline."""

import time
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from msgspec import Struct

from kubelite.doctor import (
    addresses,
    control_groups,
    dates,
    disk,
    engine,
    firewall,
    kernel,
    leftovers,
    names,
    ports,
    programs,
    resources,
    rights,
)
from kubelite.doctor.findings import Finding, Level, unseen
from kubelite.doctor.wanted import Wanted

DEADLINE_SECONDS = 10.0


class Subject(NamedTuple):
    """What is examined, in a thread of its own."""

    name: str
    gather: Callable[[Wanted], Any]
    judge: Callable[[Any, Wanted], Iterator[Finding]]


SUBJECTS: Sequence[Subject] = (
    Subject("kernel", kernel.gather, kernel.judge),
    Subject("control groups", control_groups.gather, control_groups.judge),
    Subject("rights", rights.gather, rights.judge),
    Subject("engine", engine.gather, engine.judge),
    Subject("programs", programs.gather, programs.judge),
    Subject("ports", ports.gather, ports.judge),
    Subject("addresses", addresses.gather, addresses.judge),
    Subject("names", names.gather, names.judge),
    Subject("firewall", firewall.gather, firewall.judge),
    Subject("disk", disk.gather, disk.judge),
    Subject("clock", dates.gather, dates.judge),
    Subject("resources", resources.gather, resources.judge),
    Subject("leftovers", leftovers.gather, leftovers.judge),
)


class Examined(Struct, frozen=True):
    """The findings about one subject."""

    subject: str
    findings: tuple[Finding, ...]


class Host(Struct, frozen=True):
    """What was gathered of a host, by subject; a text says why nothing was."""

    facts: dict[str, Any]
    hangs: bool = False  # a look has not come back


def judge(host: Host, wanted: Wanted) -> list[Examined]:
    """Return the findings about all subjects, in their order. Pure."""
    return [Examined(each.name, tuple(_judged(each, host, wanted))) for each in SUBJECTS]


def _judged(subject: Subject, host: Host, wanted: Wanted) -> Iterator[Finding]:
    facts = host.facts.get(subject.name, "it was not looked at")
    if isinstance(facts, str):
        yield unseen(subject.name, facts)
    else:
        yield from subject.judge(facts, wanted)


def gather(
    wanted: Wanted, subjects: Sequence[Subject] = SUBJECTS, seconds: float = DEADLINE_SECONDS
) -> Host:
    """Gather the facts of all subjects within some seconds; a look that hangs is left behind. Blocks."""
    done: SimpleQueue[tuple[str, Any]] = SimpleQueue()

    def look(subject: Subject) -> None:
        try:
            done.put((subject.name, subject.gather(wanted)))
        except Exception as failure:  # noqa: BLE001 - no host may be so broken that all the rest is not told
            done.put((subject.name, " ".join(f"{type(failure).__name__}: {failure}".split())))

    for each in subjects:
        Thread(target=look, args=(each,), name=each.name, daemon=True).start()
    facts: dict[str, Any] = {each.name: f"it took longer than {seconds:g} s" for each in subjects}
    end = time.monotonic() + seconds
    for _ in subjects:
        try:
            name, found = done.get(timeout=max(end - time.monotonic(), 0.0))
        except Empty:
            return Host(facts, hangs=True)
        facts[name] = found
    return Host(facts)


def worst(examined: Sequence[Examined]) -> Level:
    """Return the worst level of all findings."""
    levels = [finding.level for each in examined for finding in each.findings]
    return max(levels, key=list(Level).index, default=Level.OK)

"""The rules of probes as tables over time: when they ask, and what a sequence of outcomes decides.

Outcomes are a text, one letter a probe: S success, F failure, - an engine that could not carry it out; the last one
repeats. Decisions are `(second, what)`.
"""

from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.containers import Container
from kubelite.node.observed import Health
from kubelite.node.probe_schedule import ProbeSchedule, ProbeType
from kubelite.node.probes import first_health

KINDS: tuple[ProbeType, ...] = ("Startup", "Liveness", "Readiness")
OUTCOME = {"S": True, "F": False, "-": None}
TCP: dict[str, Any] = {"tcpSocket": {"port": 1}, "periodSeconds": 1}

Decision = tuple[float, str]


def container(**probes: dict[str, Any]) -> Container:
    body = {f"{kind}Probe": {**TCP, **probe} for kind, probe in probes.items()}
    return msgspec.convert({"name": "app", **body}, Container)


class Timeline:
    """Plays probes in time that passes only from one to the next."""

    def __init__(
        self,
        probed: Container,
        outcomes: dict[ProbeType, str],
        *,
        takes: float = 0.0,
        begins: float = 0.0,
        ends: float = 1e9,
        health: Health | None = None,
    ) -> None:
        """Each probe takes `takes` seconds; the pod begins to end at `ends`; the agent starts at `begins`."""
        self._schedule = ProbeSchedule(
            probed, health or first_health(probed, was_started=False, was_ready=False)
        )
        self._outcomes = outcomes
        self._takes = takes
        self._ends = ends
        self._now = dict.fromkeys(KINDS, begins)  # each has a task of its own
        self.asked: dict[ProbeType, list[float]] = {kind: [] for kind in KINDS}
        self.decisions: list[Decision] = []

    def play(self, seconds: float) -> "Timeline":
        while True:
            waiting = [
                (max(due, self._now[kind]), kind)
                for kind in KINDS
                if (due := self._schedule.due(kind)) is not None
            ]
            if not waiting or min(waiting)[0] > seconds:
                return self
            asked_at, kind = min(waiting)
            if asked_at >= self._ends:
                self._schedule.pod_is_ending()
                self._ends = 1e9
                continue
            self._ask(kind, asked_at)

    def _ask(self, kind: ProbeType, asked_at: float) -> None:
        outcomes = self._outcomes[kind]
        number = len(self.asked[kind])
        self.asked[kind].append(asked_at)
        before = self._schedule.health
        self._schedule.answered(kind, asked_at, OUTCOME[outcomes[min(number, len(outcomes) - 1)]])
        done_at = asked_at + self._takes
        self._now[kind] = done_at
        after = self._schedule.health
        if after == before:
            return
        for field in ("started", "ready", "failed_probe"):
            if (value := getattr(after, field)) != getattr(before, field):
                self.decisions.append((done_at, f"{field}={value}"))
        if after.started and not before.started:
            for other in KINDS:
                self._now[other] = max(self._now[other], done_at)


THRESHOLDS = [
    # readiness: successThreshold, failureThreshold, outcomes, decisions
    ("readiness", 1, 1, "S", [(0, "ready=True")]),
    ("readiness", 3, 1, "SSS", [(2, "ready=True")]),
    ("readiness", 3, 1, "SSFSSS", [(5, "ready=True")]),
    ("readiness", 2, 3, "SSFFSFFF", [(1, "ready=True"), (7, "ready=False")]),
    ("readiness", 1, 1, "SFSF", [(0, "ready=True"), (1, "ready=False"), (2, "ready=True"), (3, "ready=False")]),
    ("readiness", 2, 2, "SSFFSFSS", [(1, "ready=True"), (3, "ready=False"), (7, "ready=True")]),
    ("readiness", 2, 2, "S-SFF", [(2, "ready=True"), (4, "ready=False")]),
    ("readiness", 1, 2, "SF-F", [(0, "ready=True"), (3, "ready=False")]),
    ("readiness", 1, None, "SFFF", [(0, "ready=True"), (3, "ready=False")]),
    ("readiness", None, 1, "FS", [(1, "ready=True")]),
    # liveness
    ("liveness", 1, 1, "F", [(0, "failed_probe=Liveness")]),
    ("liveness", 1, 3, "SFFSFFF", [(6, "failed_probe=Liveness")]),
    ("liveness", 1, 3, "FF-F", [(3, "failed_probe=Liveness")]),
    ("liveness", 1, 3, "FFSFFSFFS", []),
    ("liveness", 1, None, "FFF", [(2, "failed_probe=Liveness")]),
    ("liveness", 1, 2, "-", []),
    # startup
    ("startup", 1, 3, "FFS", [(2, "started=True")]),
    ("startup", 1, 3, "FFF", [(2, "failed_probe=Startup")]),
    ("startup", 1, 3, "F-FS", [(3, "started=True")]),
    ("startup", 1, 1, "F", [(0, "failed_probe=Startup")]),
    ("startup", 1, None, "FFFS", [(2, "failed_probe=Startup")]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "successes", "failures", "outcomes", "decisions"), THRESHOLDS)
def test_an_outcome_counts_as_often_in_a_row_as_its_threshold(
    kind: str,
    successes: int | None,
    failures: int | None,
    outcomes: str,
    decisions: list[Decision],
) -> None:
    probe: dict[str, Any] = {}
    if successes is not None:
        probe["successThreshold"] = successes
    if failures is not None:
        probe["failureThreshold"] = failures
    name: ProbeType = kind.capitalize()  # type: ignore[assignment]  # one of the three
    # The last outcome repeats, which no decision of the table may hang on.
    played = Timeline(container(**{kind: probe}), {name: outcomes}).play(len(outcomes) - 1)
    assert played.decisions == decisions


@pytest.mark.parametrize(
    ("kind", "outcomes", "asked"),
    [
        ("startup", "FFS", [0, 1, 2]),  # done
        ("startup", "FFF", [0, 1, 2]),  # on hold until the container is replaced
        ("liveness", "SFFF", [0, 1, 2, 3]),
        ("readiness", "FFFFFF", list(range(21))),
    ],
)
def test_what_is_decided_is_not_asked_again(kind: str, outcomes: str, asked: list[int]) -> None:
    name: ProbeType = kind.capitalize()  # type: ignore[assignment]  # one of the three
    played = Timeline(container(**{kind: {"failureThreshold": 3}}), {name: outcomes}).play(20)
    assert played.asked[name] == asked


@pytest.mark.parametrize(
    ("probe", "takes", "begins", "asked"),
    [
        ({}, 0, 0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"periodSeconds": 4}, 0, 0, [0, 4, 8]),
        ({"periodSeconds": 0}, 0, 0, [0, 10]),
        ({"periodSeconds": 4, "initialDelaySeconds": 3}, 0, 0, [3, 7]),
        # A period counts from beginning to beginning, and none is made up for.
        ({"periodSeconds": 4}, 3, 0, [0, 4, 8]),
        ({"periodSeconds": 3}, 5, 0, [0, 5, 10]),
        # After a restart of the agent the container has run for a while.
        ({"periodSeconds": 4, "initialDelaySeconds": 3}, 0, 2, [3, 7]),
        ({"periodSeconds": 4, "initialDelaySeconds": 3}, 0, 4.5, [4.5, 7]),
        ({"periodSeconds": 2, "initialDelaySeconds": 1}, 0, 7.5, [7.5, 9.5]),
    ],
)
def test_when_a_probe_asks(
    probe: dict[str, Any], takes: float, begins: float, asked: list[float]
) -> None:
    played = Timeline(
        container(readiness=probe), {"Readiness": "S"}, takes=takes, begins=begins
    ).play(10)
    assert played.asked["Readiness"] == asked


def test_nothing_else_is_asked_before_the_startup_probe_has_succeeded() -> None:
    probed = container(
        startup={"failureThreshold": 10, "initialDelaySeconds": 1},
        liveness={"failureThreshold": 1},
        readiness={"initialDelaySeconds": 7},
    )
    outcomes: dict[ProbeType, str] = {"Startup": "FFFS", "Liveness": "SSF", "Readiness": "S"}
    played = Timeline(probed, outcomes).play(9)
    assert played.asked["Startup"] == [1, 2, 3, 4]
    assert played.asked["Liveness"] == [4, 5, 6]
    # The initial delay counts from the container's start, not from the startup probe's success.
    assert played.asked["Readiness"] == [7, 8, 9]
    assert played.decisions == [
        (4, "started=True"),
        (6, "failed_probe=Liveness"),
        (7, "ready=True"),
    ]


def test_a_startup_probe_that_fails_lets_nothing_else_begin() -> None:
    probed = container(startup={"failureThreshold": 2}, liveness={}, readiness={})
    outcomes: dict[ProbeType, str] = {"Startup": "F", "Liveness": "F", "Readiness": "S"}
    played = Timeline(probed, outcomes).play(30)
    assert played.decisions == [(1, "failed_probe=Startup")]
    assert played.asked == {"Startup": [0, 1], "Liveness": [], "Readiness": []}


def test_a_container_that_had_started_is_not_probed_for_it_again() -> None:
    probed = container(startup={}, liveness={"failureThreshold": 1})
    health = first_health(probed, was_started=True, was_ready=False)
    outcomes: dict[ProbeType, str] = {"Startup": "F", "Liveness": "SF"}
    played = Timeline(probed, outcomes, health=health).play(5)
    assert played.asked["Startup"] == []
    assert played.decisions == [(1, "failed_probe=Liveness")]


def test_a_pod_that_ends_is_probed_for_readiness_alone() -> None:
    """Its containers shut down, which no probe may take for a reason to restart them."""
    probed = container(liveness={"failureThreshold": 3}, readiness={"failureThreshold": 2})
    outcomes: dict[ProbeType, str] = {"Liveness": "SSF", "Readiness": "SSF"}
    played = Timeline(probed, outcomes, ends=3).play(8)
    assert played.asked["Liveness"] == [0, 1, 2]
    assert played.asked["Readiness"] == list(range(9))
    assert played.decisions == [(0, "ready=True"), (3, "ready=False")]


def test_a_pod_that_ends_before_it_has_started_is_not_probed_at_all() -> None:
    probed = container(startup={"failureThreshold": 3}, liveness={}, readiness={})
    outcomes: dict[ProbeType, str] = {"Startup": "F", "Liveness": "F", "Readiness": "S"}
    played = Timeline(probed, outcomes, ends=1).play(30)
    assert played.asked == {"Startup": [0], "Liveness": [], "Readiness": []}
    assert played.decisions == []


@pytest.mark.parametrize("outcome", [True, False, None])
def test_an_answer_that_comes_after_the_pods_end_began_is_void(outcome: bool | None) -> None:
    probed = container(liveness={"failureThreshold": 1})
    schedule = ProbeSchedule(probed, Health())
    schedule.pod_is_ending()
    schedule.answered("Liveness", 0.0, outcome)
    assert schedule.health == Health()

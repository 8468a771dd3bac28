from typing import Any

import pytest
from msgspec import convert

from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.kinds.scheduling import PriorityClass
from kubelite.api.registry.admission.priority import Priority


def priority_class(name: str, value: int, **fields: Any) -> PriorityClass:
    return convert({"metadata": {"name": name}, "value": value, **fields}, PriorityClass)


HIGH = priority_class("high", 1000, preemptionPolicy="Never")
NORMAL = priority_class("normal", 10, globalDefault=True)


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": spec}


async def test_resolution(ask: Any) -> None:
    plain = (await ask(Priority(FixedLookup()), "pods", pod())).item["spec"]
    assert plain == {"priority": 0, "preemptionPolicy": "PreemptLowerPriority"}
    named = (await ask(Priority(FixedLookup([HIGH])), "pods", pod(priorityClassName="high"))).item[
        "spec"
    ]
    assert named == {"priorityClassName": "high", "priority": 1000, "preemptionPolicy": "Never"}
    default = (await ask(Priority(FixedLookup([HIGH, NORMAL])), "pods", pod())).item["spec"]
    assert (default["priorityClassName"], default["priority"]) == ("normal", 10)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"priorityClassName": "gone"}, "no PriorityClass with name gone was found"),
        ({"priority": 5}, "the integer value of priority (5) must not be provided in pod spec"),
        (
            {"priorityClassName": "high", "preemptionPolicy": "PreemptLowerPriority"},
            "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided",
        ),
    ],
)
async def test_refusals(ask: Any, spec: dict[str, Any], reason: str) -> None:
    assert reason in (await ask(Priority(FixedLookup([HIGH])), "pods", pod(**spec))).refusal


async def test_updates_keep_what_was_resolved(ask: Any) -> None:
    updated = await ask(Priority(FixedLookup()), "pods", pod(), old=pod(priority=7))
    assert updated.item["spec"] == {"priority": 7}


async def test_one_default(ask: Any) -> None:
    plugin = Priority(FixedLookup([NORMAL]))
    path = "priorityclasses.scheduling.k8s.io"
    second = {"metadata": {"name": "second"}, "globalDefault": True}
    refused = await ask(plugin, path, second)
    assert (
        "PriorityClass normal is already marked as default. Only one default can exist"
        in refused.refusal
    )
    same = {"metadata": {"name": "normal"}, "globalDefault": True}
    assert (await ask(plugin, path, same, old=same)).item
    assert (await ask(plugin, path, {"metadata": {"name": "third"}})).item

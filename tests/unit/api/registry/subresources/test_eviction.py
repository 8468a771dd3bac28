from typing import Any

import pytest

from kubelite.api.errors import Forbidden, Invalid, TooManyRequests
from kubelite.api.registry.subresources.eviction import (
    Verdict,
    deletion_options,
    is_exempt,
    judge,
    spent,
)

JSON = dict[str, Any]
READY: JSON = {
    "metadata": {"name": "p"},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}
UNREADY: JSON = {"metadata": {"name": "p"}, "status": {"phase": "Running"}}


def budget(policy: str = "", **status: Any) -> JSON:
    return {
        "metadata": {"name": "b", "generation": 2},
        "spec": {"unhealthyPodEvictionPolicy": policy} if policy else {},
        "status": {"observedGeneration": 2, "disruptionsAllowed": 0, **status},
    }


@pytest.mark.parametrize(
    ("item", "pod", "expected"),
    [
        (budget(disruptionsAllowed=1), READY, Verdict(spend=True)),
        (budget("AlwaysAllow"), UNREADY, Verdict(spend=False, guarded=True)),
        (
            budget(currentHealthy=2, desiredHealthy=2),
            UNREADY,
            Verdict(spend=False, guarded=True),
        ),
        (
            budget(currentHealthy=1, desiredHealthy=2, disruptionsAllowed=1),
            UNREADY,
            Verdict(spend=True),
        ),
    ],
)
def test_a_budget_may_let_a_pod_go(item: JSON, pod: JSON, expected: Verdict) -> None:
    assert judge(item, pod) == expected


@pytest.mark.parametrize(
    ("item", "pod", "text"),
    [
        (budget(observedGeneration=1), READY, "is still being processed by the server."),
        (
            budget(currentHealthy=1, desiredHealthy=2),
            READY,
            "needs 2 healthy pods and has 1 currently",
        ),
        (budget(currentHealthy=3, desiredHealthy=2), READY, "does not allow evicting pods"),
        (budget(currentHealthy=0, desiredHealthy=0), UNREADY, "needs 0 healthy pods"),
        (
            budget(
                currentHealthy=3,
                desiredHealthy=2,
                conditions=[
                    {
                        "type": "DisruptionAllowed",
                        "status": "False",
                        "reason": "SyncFailed",
                        "message": "no controller",
                    }
                ],
            ),
            READY,
            "because it failed sync: no controller",
        ),
    ],
)
def test_a_budget_may_refuse(item: JSON, pod: JSON, text: str) -> None:
    with pytest.raises(TooManyRequests) as caught:
        judge(item, pod)
    assert text in caught.value.causes[0].message


@pytest.mark.parametrize(
    "status",
    [
        {"disruptionsAllowed": -1},
        {"disruptionsAllowed": 1, "disruptedPods": {str(n): "t" for n in range(2001)}},
    ],
)
def test_a_budget_that_makes_no_sense_forbids(status: JSON) -> None:
    with pytest.raises(Forbidden):
        judge(budget(**status), READY)


def test_spending_leaves_the_budget_it_was_given() -> None:
    before = budget(disruptionsAllowed=2, disruptedPods={"a": "t0"})
    after = spent(before, "p", "t1")
    assert after["status"]["disruptionsAllowed"] == 1
    assert after["status"]["disruptedPods"] == {"a": "t0", "p": "t1"}
    assert before["status"]["disruptionsAllowed"] == 2
    last = spent(after, "q", "t2")
    assert last["status"]["conditions"][0]["reason"] == "InsufficientPods"


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (READY, False),
        ({"metadata": {}, "status": {"phase": "Pending"}}, True),
        ({"metadata": {}, "status": {"phase": "Succeeded"}}, True),
        ({"metadata": {"deletionTimestamp": "t"}, "status": {"phase": "Running"}}, True),
    ],
)
def test_some_pods_disrupt_nothing(pod: JSON, expected: bool) -> None:
    assert is_exempt(pod) is expected


def test_the_options_of_an_eviction_are_those_of_its_deletion() -> None:
    options = deletion_options(
        {
            "gracePeriodSeconds": 5,
            "propagationPolicy": "Orphan",
            "preconditions": {"uid": "u", "resourceVersion": "7"},
            "dryRun": ["All"],
        },
        dry_run=False,
    )
    assert (options.grace_seconds, options.propagation) == (5, "Orphan")
    assert (options.uid, options.resource_version, options.dry_run) == ("u", "7", True)


def test_a_propagation_there_is_not_is_refused() -> None:
    with pytest.raises(Invalid, match='Unsupported value: "Sideways"'):
        deletion_options({"propagationPolicy": "Sideways"}, dry_run=False)

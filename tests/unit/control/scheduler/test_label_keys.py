"""Label keys of placement terms: merged by the API when a pod is created, by the scheduler for what is older."""

from typing import Any

import pytest

from kubelite.control.scheduler.pod_info import PodInfo, _with_label_keys
from kubelite.control.scheduler.spread import _matcher
from unit.control.scheduler.pods import make_pod

MERGED = {"matchExpressions": [{"key": "rev", "operator": "In", "values": ["1"]}]}


@pytest.mark.parametrize(
    ("selector", "matching"),
    [({"matchLabels": {}}, "2"), (MERGED, "1")],
    ids=["not merged yet", "merged at creation, the label changed later"],
)
def test_what_was_merged_stands(selector: dict[str, Any], matching: str) -> None:
    constraint = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": selector,
        "matchLabelKeys": ["rev"],
    }
    pod = make_pod("p", labels={"rev": "2"}, topologySpreadConstraints=[constraint])
    matches = _matcher(PodInfo(pod), pod.spec.topologySpreadConstraints[0])
    assert [rev for rev in ("1", "2") if matches({"rev": rev})] == [matching]


def test_what_was_merged_into_an_affinity_term_stands() -> None:
    term = {"topologyKey": "zone", "labelSelector": MERGED, "matchLabelKeys": ["rev"]}
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    pod = make_pod("p", labels={"rev": "2"}, affinity=affinity)
    assert pod.spec.affinity is not None
    assert pod.spec.affinity.podAffinity is not None
    (read,) = pod.spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution
    assert _with_label_keys(pod, read) == read.labelSelector

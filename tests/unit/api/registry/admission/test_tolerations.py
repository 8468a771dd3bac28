from typing import Any

import pytest

from kubelite.api.registry.admission.tolerations import (
    NOT_READY,
    UNREACHABLE,
    DefaultTolerationSeconds,
    TaintNodesByCondition,
)


async def test_pods_stay_five_minutes(ask: Any) -> None:
    spec = (await ask(DefaultTolerationSeconds(), "pods", {"spec": {}})).item["spec"]
    assert spec["tolerations"] == [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for key in (NOT_READY, UNREACHABLE)
    ]


@pytest.mark.parametrize(
    ("toleration", "added"),
    [
        ({"operator": "Exists"}, []),
        ({"operator": "Exists", "effect": "NoSchedule"}, [NOT_READY, UNREACHABLE]),
        ({"key": NOT_READY, "operator": "Exists", "effect": "NoExecute"}, [UNREACHABLE]),
        ({"key": UNREACHABLE, "operator": "Exists"}, [NOT_READY]),
    ],
)
async def test_own_tolerations_count(
    ask: Any, toleration: dict[str, str], added: list[str]
) -> None:
    item = {"spec": {"tolerations": [toleration]}}
    spec = (await ask(DefaultTolerationSeconds(), "pods", item)).item["spec"]
    assert [one["key"] for one in spec["tolerations"][1:]] == added


async def test_new_nodes_are_tainted_once(ask: Any) -> None:
    spec = (await ask(TaintNodesByCondition(), "nodes", {})).item["spec"]
    assert spec["taints"] == [{"key": NOT_READY, "effect": "NoSchedule"}]
    again = (await ask(TaintNodesByCondition(), "nodes", {"spec": spec})).item["spec"]
    assert again == spec
    assert "spec" not in (await ask(TaintNodesByCondition(), "nodes", {}, old={})).item

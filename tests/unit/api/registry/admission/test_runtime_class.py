from typing import Any

from msgspec import convert

from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.kinds.node import RuntimeClass as RuntimeClassKind
from kubelite.api.registry.admission.runtime_class import RuntimeClass

FIRECRACKER = convert(
    {
        "metadata": {"name": "vm"},
        "handler": "vm",
        "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": {
            "nodeSelector": {"vm": "yes"},
            "tolerations": [{"key": "vm", "operator": "Exists"}],
        },
    },
    RuntimeClassKind,
)
PLUGIN = RuntimeClass(FixedLookup([FIRECRACKER]))


async def test_completion(ask: Any) -> None:
    pod = {"spec": {"runtimeClassName": "vm", "nodeSelector": {"zone": "a"}}}
    spec = (await ask(PLUGIN, "pods", pod)).item["spec"]
    assert spec["overhead"] == {"cpu": "250m"}
    assert spec["nodeSelector"] == {"zone": "a", "vm": "yes"}
    assert spec["tolerations"] == [{"key": "vm", "operator": "Exists"}]
    same = {"spec": {"runtimeClassName": "vm", "overhead": {"cpu": "0.25"}}}
    assert (await ask(PLUGIN, "pods", same)).item


async def test_refusals(ask: Any) -> None:
    for spec, reason in (
        ({"runtimeClassName": "gone"}, 'pod rejected: RuntimeClass "gone" not found'),
        ({"runtimeClassName": "vm", "overhead": {"cpu": "1"}}, "Pod's Overhead doesn't match"),
        (
            {"overhead": {"cpu": "1"}},
            "Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            {"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}},
            "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes",
        ),
    ):
        assert reason in (await ask(PLUGIN, "pods", {"spec": spec})).refusal

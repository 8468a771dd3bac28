from typing import Any

import pytest
from msgspec import convert

from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.kinds.core.quota import LimitRange
from kubelite.api.registry.admission.limit_ranger import LimitRanger


def limits(*items: dict[str, Any]) -> LimitRange:
    meta = {"name": "limits", "namespace": "shop"}
    return convert({"metadata": meta, "spec": {"limits": list(items)}}, LimitRange)


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    named = [{"name": f"c{index}", "resources": one} for index, one in enumerate(containers)]
    return {"metadata": {"name": "p"}, "spec": {"containers": named, **spec}}


async def test_defaults(ask: Any) -> None:
    item = {
        "type": "Container",
        "default": {"cpu": "1"},
        "defaultRequest": {"cpu": "100m", "memory": "1Mi"},
    }
    plugin = LimitRanger(FixedLookup([limits(item)]))
    made = (await ask(plugin, "pods", pod({}, {"requests": {"cpu": "5m"}}))).item
    first, second = (one["resources"] for one in made["spec"]["containers"])
    assert first == {"requests": {"cpu": "100m", "memory": "1Mi"}, "limits": {"cpu": "1"}}
    assert second == {"requests": {"cpu": "5m", "memory": "1Mi"}, "limits": {"cpu": "1"}}
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu, memory request for container c0; cpu limit for container c0; "
        "memory request for container c1; cpu limit for container c1"
    )


@pytest.mark.parametrize(
    ("item", "resources", "reason"),
    [
        (
            {"type": "Container", "min": {"cpu": "100m"}},
            {},
            "minimum cpu usage per Container is 100m.  No request is specified",
        ),
        (
            {"type": "Container", "min": {"cpu": "100m"}},
            {"requests": {"cpu": "50m"}},
            "minimum cpu usage per Container is 100m, but request is 50m",
        ),
        ({"type": "Container", "min": {"cpu": "100m"}}, {"requests": {"cpu": "0.1"}}, ""),
        (
            {"type": "Container", "max": {"cpu": "1"}},
            {},
            "maximum cpu usage per Container is 1.  No limit is specified",
        ),
        (
            {"type": "Container", "max": {"cpu": "1"}},
            {"limits": {"cpu": "2"}},
            "maximum cpu usage per Container is 1, but limit is 2",
        ),
        (
            {"type": "Container", "max": {"cpu": "1"}},
            {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}},
            "maximum cpu usage per Container is 1, but request is 2",
        ),
        (
            {"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}},
            {"limits": {"cpu": "3"}, "requests": {"cpu": "1"}},
            "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
        ),
        (
            {"type": "Pod", "max": {"cpu": "1"}},
            {"limits": {"cpu": "600m"}},
            "maximum cpu usage per Pod is 1, but limit is 1200m",
        ),
        ({"type": "Pod", "max": {"cpu": "2"}}, {"limits": {"cpu": "600m"}}, ""),
    ],
)
async def test_bounds(
    ask: Any, item: dict[str, Any], resources: dict[str, Any], reason: str
) -> None:
    asked = await ask(LimitRanger(FixedLookup([limits(item)])), "pods", pod(resources, resources))
    if reason:
        assert reason in asked.refusal
    else:
        assert asked.item


async def test_claims(ask: Any) -> None:
    item = {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}
    plugin = LimitRanger(FixedLookup([limits(item)]))
    for size, refused in (("500Mi", True), ("1Gi", False), ("2Gi", False), ("3Gi", True)):
        claim = {"spec": {"resources": {"requests": {"storage": size}}}}
        assert ((await ask(plugin, "persistentvolumeclaims", claim)).error is not None) is refused


async def test_other_namespaces_and_updates(ask: Any) -> None:
    plugin = LimitRanger(FixedLookup([limits({"type": "Container", "min": {"cpu": "1"}})]))
    assert (await ask(plugin, "pods", pod({}), namespace="other")).item
    assert (await ask(plugin, "pods", pod({}), old=pod({}))).item
    assert (await ask(plugin, "pods/resize", pod({}), old=pod({}))).error

"""The rows of metrics.k8s.io: what nodes and pods use. They are computed, and nothing of them is stored.

Their form is that of metrics-server, which a user can install instead.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.columns.layout import JSON, Cells, Column, Layout, name_of
from kubelite.api.machinery.field_selectors import METADATA, NAME_ONLY, Fields
from kubelite.api.machinery.openapi_custom import CustomType
from kubelite.api.machinery.quantity import total
from kubelite.api.machinery.shaping.shape import Shape
from kubelite.api.registry.handlers import Services, UsageMetrics
from kubelite.api.registry.resource import ListComputed, Resource
from kubelite.api.registry.strategy import Strategy

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
NODE_METRICS = GroupVersionKind(GROUP, VERSION, "NodeMetrics")
POD_METRICS = GroupVersionKind(GROUP, VERSION, "PodMetrics")
VERBS = ("get", "list")


async def node_metrics(services: Services, namespace: str) -> Sequence[dict[str, Any]]:
    """Return what each node uses."""
    del namespace  # they are cluster-scoped
    return await _metrics(services).nodes()


async def pod_metrics(services: Services, namespace: str) -> Sequence[dict[str, Any]]:
    """Return what each pod of a namespace ("": of all) uses."""
    return await _metrics(services).pods(namespace)


def _metrics(services: Services) -> UsageMetrics:
    assert services.metrics is not None, "who serves these rows measures"
    return services.metrics()


def _node_schema() -> dict[str, Any]:
    return _schema({"usage": _QUANTITIES})


def _pod_schema() -> dict[str, Any]:
    properties = {"name": {"type": "string"}, "usage": _QUANTITIES}
    container = {"type": "object", "properties": properties, "required": ["name", "usage"]}
    return _schema({"containers": {"type": "array", "items": container}})


_QUANTITIES: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": {"x-kubernetes-int-or-string": True},
}


def _schema(more: Mapping[str, Any]) -> dict[str, Any]:
    own = {"timestamp": {"type": "string", "format": "date-time"}, "window": {"type": "string"}}
    return {"type": "object", "properties": {**own, **more}, "required": [*own, *more]}


class _LateShape:
    """The shape of objects that nobody writes, which is made when something asks for it."""

    def __init__(self, kind: GroupVersionKind, source: Callable[[], dict[str, Any]]) -> None:
        self._kind = kind
        self._source = source

    def __getattr__(self, name: str) -> Any:
        from kubelite.api.machinery.shaping.custom import CustomShape

        return getattr(CustomShape(self._source, self._kind), name)


def _cells(thing: JSON, _: datetime) -> Cells:
    usages = [one["usage"] for one in thing.get("containers") or ()] or [thing.get("usage") or {}]
    sums = [
        total(*(usage[name] for usage in usages if name in usage)) for name in ("cpu", "memory")
    ]
    return [name_of(thing), *sums, thing.get("window", "")]


LAYOUT = Layout(
    (
        Column("Name", format="name", description="Name of the resource"),
        Column("cpu", description="Resource usage"),
        Column("memory", description="Resource usage"),
        Column("Window", description="Time during which the usage was measured"),
    ),
    _cells,
)


def _row(
    kind: GroupVersionKind,
    plural: str,
    source: Callable[[], dict[str, Any]],
    computed: ListComputed,
) -> Resource:
    namespaced = kind == POD_METRICS
    return Resource(
        group=GROUP,
        version=VERSION,
        plural=plural,
        singular="",
        kind=kind,
        type=None,  # as JSON and YAML only
        namespaced=namespaced,
        verbs=VERBS,
        storage=f"{plural}.{GROUP}",
        shape=cast(Shape, _LateShape(kind, source)),
        strategy=Strategy(),
        layout=LAYOUT,
        fields=Fields(METADATA if namespaced else NAME_ONLY),
        openapi=CustomType(kind=kind, list_kind=f"{kind.kind}List", source=source),
        computed=computed,
    )


METRICS = (
    _row(NODE_METRICS, "nodes", _node_schema, node_metrics),
    _row(POD_METRICS, "pods", _pod_schema, pod_metrics),
)

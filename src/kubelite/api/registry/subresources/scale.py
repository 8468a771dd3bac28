"""The scale subresource: the replicas of a workload as a Scale object."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubelite.api.errors import BadRequest, Cause, InternalError
from kubelite.api.kinds.autoscaling_v1 import Scale
from kubelite.api.machinery import causes
from kubelite.api.machinery.selectors import label_selector, labels_selector
from kubelite.api.machinery.shaping.go import GoShape

SHAPE = GoShape(Scale)
_INT32_MAX = 2**31 - 1
_CARRIED = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(item: dict[str, Any]) -> dict[str, Any]:
    """Return the Scale of a workload."""
    spec, status = item.get("spec") or {}, item.get("status") or {}
    metadata = item["metadata"]
    shown: dict[str, Any] = {"replicas": status.get("replicas", 0)}
    if selector := selector_text(spec.get("selector")):
        shown["selector"] = selector
    wanted = spec.get("replicas") or 0
    return {
        "kind": Scale.gvk.kind,
        "apiVersion": Scale.gvk.api_version,
        "metadata": {name: metadata[name] for name in _CARRIED if name in metadata},
        "spec": {"replicas": wanted} if wanted else {},
        "status": shown,
    }


def selector_text(selector: dict[str, Any] | None) -> str:
    """Return a workload's selector in the syntax of a labelSelector parameter; "": none."""
    if not selector:
        return ""
    typed = "matchLabels" in selector or "matchExpressions" in selector
    return str(label_selector(selector) if typed else labels_selector(selector))


def put_scale(item: dict[str, Any], scale: dict[str, Any]) -> dict[str, Any]:
    """Set the replicas of `item`, which is changed, from a Scale; raises BadRequest and Invalid."""
    item["spec"]["replicas"] = _checked_replicas(item, scale)
    return item


def _checked_replicas(item: dict[str, Any], scale: dict[str, Any]) -> int:
    """Return the replicas of a Scale, and take its preconditions over to `item`; raises BadRequest and Invalid."""
    metadata = scale.get("metadata") or {}
    name = item["metadata"]["name"]
    if metadata.get("name", name) != name:
        raise BadRequest(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        )
    replicas: int = (scale.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        cause = causes.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise causes.invalid_object("Scale", "autoscaling", name, [cause])
    for field in ("resourceVersion", "uid"):
        if metadata.get(field):
            item["metadata"][field] = metadata[field]
        elif field == "resourceVersion":
            item["metadata"].pop(field, None)
    return replicas


class WorkloadScale:
    """The scale of a built-in workload, at the fields that all of them have."""

    shape = SHAPE

    def read(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the Scale of a workload."""
        return scale_of(item)

    def write(self, item: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
        """Return `item` with the replicas of a Scale; raises BadRequest and Invalid."""
        return put_scale(item, shown)

    def causes(self, item: Mapping[str, Any], *, of_status: bool) -> tuple[Cause, ...]:
        """Return no cause: the rules of the workload check its replicas."""
        del item, of_status
        return ()


class CustomScale:
    """The scale of a custom resource, at the paths that its definition names, such as ``.spec.replicas``."""

    shape = SHAPE

    def __init__(self, spec_path: str, status_path: str, selector_path: str) -> None:
        """`selector_path` may be "", if there is no selector."""
        self._spec_path = spec_path
        self._spec, self._status, self._selector = map(
            _steps, (spec_path, status_path, selector_path)
        )

    def read(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the Scale of an object; raises InternalError if the object has no replicas."""
        wanted = _number_at(item, self._spec)
        if wanted is None:
            path = causes.quoted(self._spec_path)
            raise InternalError(
                f"Internal error occurred: the spec replicas field {path} does not exist"
            )
        metadata = item["metadata"]
        status: dict[str, Any] = {"replicas": _number_at(item, self._status) or 0}
        selector = _at(item, self._selector) if self._selector else None
        if isinstance(selector, str) and selector:
            status["selector"] = selector
        return {
            "kind": Scale.gvk.kind,
            "apiVersion": Scale.gvk.api_version,
            "metadata": {name: metadata[name] for name in _CARRIED if name in metadata},
            "spec": {"replicas": wanted} if wanted else {},
            "status": status,
        }

    def write(self, item: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
        """Return `item` with the replicas of a Scale; raises BadRequest and Invalid."""
        replicas = _checked_replicas(item, shown)
        *above, last = self._spec
        within = item
        for step in above:
            inner = within.setdefault(step, {})
            if not isinstance(inner, dict):
                raise BadRequest(f"value cannot be set because {'.'.join(above)} is not a map")
            within = inner
        within[last] = replicas
        return item

    def causes(self, item: Mapping[str, Any], *, of_status: bool) -> Iterator[Cause]:
        """Yield what is wrong with the numbers that a Scale shows; `of_status`: a write of the status was made."""
        if not of_status:
            yield from _range_causes(item, self._spec)
        yield from _range_causes(item, self._status)


def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.removeprefix(".").split(".")) if path else ()


def _at(item: Mapping[str, Any], steps: Sequence[str]) -> Any:
    value: Any = item
    for step in steps:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


def _number_at(item: Mapping[str, Any], steps: Sequence[str]) -> int | None:
    value = _at(item, steps)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _range_causes(item: Mapping[str, Any], steps: Sequence[str]) -> Iterator[Cause]:
    number, path = _number_at(item, steps), ".".join(steps)
    if number is not None and number < 0:
        yield causes.invalid(path, number, "should be a non-negative integer")
    elif number is not None and number > _INT32_MAX:
        detail = f"should be less than or equal to {_INT32_MAX}"
        yield causes.invalid(path, number, detail)

"""The scale subresource: the replicas of a workload as a Scale object."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from kubelite.api.errors import BadRequest, Cause, PlainError, internal_error
from kubelite.api.kinds.autoscaling_v1 import Scale
from kubelite.api.machinery import causes
from kubelite.api.machinery.columns import workloads
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
    replicas = _checked_replicas(item, scale)
    if replicas < 0:
        cause = causes.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        name = item["metadata"]["name"]
        raise causes.invalid_object("Scale", "autoscaling", name, [cause])
    item["spec"]["replicas"] = replicas
    return item


def _checked_replicas(item: dict[str, Any], scale: dict[str, Any]) -> int:
    """Return the replicas of a Scale, and take its preconditions over to `item`; raises BadRequest."""
    metadata = scale.get("metadata") or {}
    name = item["metadata"]["name"]
    if metadata.get("name", name) != name:
        raise BadRequest(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        )
    replicas: int = (scale.get("spec") or {}).get("replicas") or 0
    for field in ("resourceVersion", "uid"):
        if metadata.get(field):
            item["metadata"][field] = metadata[field]
    return replicas


class WorkloadScale:
    """The scale of a built-in workload, at the fields that all of them have."""

    shape = SHAPE
    layout = workloads.SCALE

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
    layout = workloads.CUSTOM_SCALE

    def __init__(self, spec_path: str, status_path: str, selector_path: str) -> None:
        """`selector_path` may be "", if there is no selector."""
        self._spec_path = spec_path
        self._spec, self._status, self._selector = map(
            _steps, (spec_path, status_path, selector_path)
        )
        self._paths = (spec_path, status_path, selector_path)

    def read(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the Scale of an object; raises InternalError if the object has no replicas or others than numbers."""
        try:
            wanted = _found(item, self._spec, int)
            status: dict[str, Any] = {"replicas": _found(item, self._status, int) or 0}
            selector = _found(item, self._selector, str) if self._selector else None
        except _Mistyped as error:
            raise PlainError(str(error)) from error
        if wanted is None:
            path = causes.quoted(self._spec_path)
            raise internal_error(f"the spec replicas field {path} does not exist")
        metadata = item["metadata"]
        if selector:
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
        spec_path, status_path, selector_path = self._paths
        if not of_status:
            yield from _range_causes(item, self._spec, spec_path)
        yield from _range_causes(item, self._status, status_path)
        if selector_path:
            try:
                _found(item, self._selector, str)
            except _Mistyped as error:
                yield causes.invalid(selector_path, "", str(error))


def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.removeprefix(".").split(".")) if path else ()


class _Mistyped(Exception):
    """A value on the path has another type."""


_GO_NAMES = {
    str: "string",
    bool: "bool",
    int: "int64",
    float: "float64",
    dict: "map[string]interface {}",
    list: "[]interface {}",
    type(None): "<nil>",
}
T = TypeVar("T", int, str)


def _found(item: Mapping[str, Any], steps: Sequence[str], wanted: type[T]) -> T | None:
    """Return the value at a path, None if it is absent; raises _Mistyped, worded as Go's accessors word it."""
    value: Any = item
    for index, step in enumerate(steps):
        if value is None:
            return None
        if not isinstance(value, dict):
            raise _mistyped(value, steps[: index + 1], "map[string]interface {}")
        if step not in value:
            return None
        value = value[step]
    if value.__class__ is not wanted:
        raise _mistyped(value, steps, _GO_NAMES[wanted])
    found: T = value
    return found


def _mistyped(value: Any, steps: Sequence[str], wanted: str) -> _Mistyped:
    shown = "<nil>" if value is None else value if isinstance(value, str) else causes.shown(value)
    found = _GO_NAMES.get(type(value), "")
    path = "." + ".".join(steps)
    return _Mistyped(
        f"{path} accessor error: {causes.cut(shown)} is of the type {found}, expected {wanted}"
    )


def _range_causes(item: Mapping[str, Any], steps: Sequence[str], path: str) -> Iterator[Cause]:
    try:
        number = _found(item, steps, int)
    except _Mistyped as error:
        yield causes.invalid(path, 0, str(error))
        return
    if number is not None and number < 0:
        yield causes.invalid(path, number, "should be a non-negative integer")
    elif number is not None and number > _INT32_MAX:
        detail = f"should be less than or equal to {_INT32_MAX}"
        yield causes.invalid(path, number, detail)

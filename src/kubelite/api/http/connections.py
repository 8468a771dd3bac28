"""The options of exec, attach, port-forward and proxies as objects, which admission judges before one opens."""

from typing import Any
from urllib.parse import unquote

from kubelite.api.errors import BadRequest
from kubelite.api.http.query import int64, text
from kubelite.api.http.request import Query, flag
from kubelite.api.kinds.core.options import (
    NodeProxyOptions,
    PodAttachOptions,
    PodExecOptions,
    PodPortForwardOptions,
    PodProxyOptions,
    ServiceProxyOptions,
)
from kubelite.api.kinds.model import GroupVersionKind, Kind
from kubelite.api.machinery.causes import quoted
from kubelite.api.machinery.shaping.go import GoShape

JSON = dict[str, Any]
FLAGS = ("stdin", "stdout", "stderr", "tty")
LISTS = ("command", "ports")
OPTIONS = frozenset({*FLAGS, *LISTS, "container"})
_KINDS: tuple[type[Kind], ...] = (
    PodAttachOptions,
    PodExecOptions,
    PodPortForwardOptions,
    PodProxyOptions,
    ServiceProxyOptions,
    NodeProxyOptions,
)


class Connections:
    """Compiles the forms of the options on first use."""

    def __init__(self) -> None:
        self._types = {kind.gvk: kind for kind in _KINDS}
        self._forms: dict[GroupVersionKind, GoShape] = {}

    def form(self, kind: GroupVersionKind) -> GoShape | None:
        """Return the form of the options of a connection; None: the path opens none, such as that of a log."""
        if kind not in self._types:
            return None
        if kind not in self._forms:
            self._forms[kind] = GoShape(self._types[kind])
        return self._forms[kind]


def options_of(query: Query, rest: str | None, kind: GroupVersionKind) -> JSON:
    """Return the options of a request as an object of their kind; `rest` is the path of a proxy. Raises BadRequest."""
    if query.get("dryRun"):
        raise BadRequest("dryRun is not supported")
    item: JSON = {"kind": kind.kind, "apiVersion": kind.api_version}
    if kind == PodPortForwardOptions.gvk:
        if ports := query.get("ports"):
            item["ports"] = [_port(each) for each in ports]
        return item
    if kind not in (PodExecOptions.gvk, PodAttachOptions.gvk):
        if rest:
            item["path"] = unquote(rest)
        return item
    for name in FLAGS:
        if flag(query, name):
            item[name] = True
    if container := text(query, "container"):
        item["container"] = container
    if kind == PodExecOptions.gvk:
        item["command"] = list(query.get("command", ())) or None
    return item


def _port(value: str) -> int:
    number = int64(value)
    if number is None:
        raise BadRequest(f"strconv.ParseInt: parsing {quoted(value)}: invalid syntax")
    return number


def query_of(item: JSON, query: Query) -> Query:
    """Return a query with the options that admission left; a proxy keeps the path of the request."""
    kept = {name: values for name, values in query.items() if name not in OPTIONS}
    flags = {name: ["true"] for name in FLAGS if item.get(name)}
    texts = {name: [str(each) for each in item[name]] for name in LISTS if item.get(name)}
    container = {"container": [item["container"]]} if item.get("container") else {}
    return {**kept, **flags, **texts, **container}

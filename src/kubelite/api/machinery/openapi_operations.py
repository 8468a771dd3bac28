"""The operations of both versions of OpenAPI: the paths of a resource, their methods, bodies and responses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from msgspec import Struct

from kubelite.api.kinds.meta import DeleteOptions, Status, WatchEvent
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.openapi import PATCH, Definitions, Served, ServedSubresource
from kubelite.api.machinery.openapi_custom import JSON, CustomType
from kubelite.api.machinery.schema import Schema, compile_struct

ANY_TYPE = ("*/*",)
MEDIA_TYPES = ("application/json", "application/yaml")
PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)

Body = Literal["", "object", "patch", "options"]
Answer = Literal["object", "list", "status", "text", "event"]


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path."""

    method: str
    action: str  # x-kubernetes-action
    identifier: str
    about: str
    kind: GroupVersionKind
    parameters: tuple[str, ...] = ()
    body: Body = ""
    answer: Answer = "object"
    codes: tuple[str, ...] = ("200",)
    schema: Schema | CustomType | None = None
    subresource: str = ""  # the one whose parameter descriptions apply
    accepted: tuple[str, ...] = ANY_TYPE  # media types of the request


class Path(Struct, frozen=True):
    """A path with its operations; `names` are its path parameters."""

    path: str
    names: tuple[str, ...]
    operations: tuple[Operation, ...]


_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_LIST = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_DELETE = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_STREAMS = ("container", "stderr", "stdin", "stdout", "tty")
_CONNECT = {  # the parameters of subresources that are no objects
    "attach": _STREAMS,
    "exec": ("command", *_STREAMS),
    "log": (
        *("container", "follow", "insecureSkipTLSVerifyBackend", "limitBytes", "previous"),
        *("sinceSeconds", "sinceTime", "stream", "tailLines", "timestamps"),
    ),
    "portforward": ("ports",),
    "proxy": ("path",),
}
_CONNECT_METHODS = {
    "delete": "delete",
    "get": "get",
    "patch": "patch",
    "create": "post",
    "update": "put",
}
_PROXY_METHODS = ("head", "options")  # forwarded by a proxy as well
_BOOLEANS = frozenset(
    (
        *("allowWatchBookmarks", "follow", "force", "insecureSkipTLSVerifyBackend"),
        *("orphanDependents", "previous", "sendInitialEvents", "stderr", "stdin", "stdout"),
        *("timestamps", "tty", "watch"),
    )
)
_INTEGERS = frozenset(
    (
        *("gracePeriodSeconds", "limit", "limitBytes", "ports", "sinceSeconds", "tailLines"),
        "timeoutSeconds",
    )
)


def paths(resource: Served) -> Iterator[Path]:
    """Yield the paths of a resource and its subresources."""
    root = f"/{resource.group_path}"
    scope, names = ("/namespaces/{namespace}", ("namespace",)) if resource.namespaced else ("", ())
    everywhere = f"{root}/{resource.plural}"
    collection, item = (
        f"{root}{scope}/{resource.plural}",
        f"{root}{scope}/{resource.plural}/{{name}}",
    )
    if resource.namespaced and "list" in resource.verbs:
        yield Path(everywhere, (), (_operation(resource, "list", "ForAllNamespaces"),))
    of_collection = tuple(_operations(resource, ("list", "create", "deletecollection")))
    if of_collection:
        yield Path(collection, names, of_collection)
    of_item = tuple(_operations(resource, ("get", "update", "patch", "delete")))
    if of_item:
        yield Path(item, ("name", *names), of_item)
    for subresource in resource.subresources:
        yield from _sub_paths(resource, subresource, f"{item}/{subresource.name}", ("name", *names))
    if (
        "watch" in resource.verbs and not resource.custom
    ):  # the paths are older than custom resources
        root = f"/{resource.group_path}/watch"
        if resource.namespaced:
            watch = _watch(resource, "watchlist", "ListForAllNamespaces")
            yield Path(f"{root}/{resource.plural}", (), (watch,))
        collection = f"{root}{scope}/{resource.plural}"
        yield Path(collection, names, (_watch(resource, "watchlist", "List"),))
        yield Path(f"{collection}/{{name}}", ("name", *names), (_watch(resource, "watch", ""),))


def _sub_paths(
    resource: Served, subresource: ServedSubresource, path: str, names: tuple[str, ...]
) -> Iterator[Path]:
    if subresource.name in _CONNECT and subresource.name != "log":
        yield Path(path, names, tuple(_connections(resource, subresource, "")))
        if subresource.name == "proxy":
            below = tuple(_connections(resource, subresource, "WithPath"))
            yield Path(f"{path}/{{path}}", (*names, "path"), below)
        return
    operations = tuple(
        _sub_operation(resource, subresource, verb)
        for verb in ("get", "create", "update", "patch")
        if verb in subresource.verbs
    )
    if operations:
        yield Path(path, names, operations)


def _connections(
    resource: Served, subresource: ServedSubresource, suffix: str
) -> Iterator[Operation]:
    """Yield an operation for each method of a stream or proxy."""
    methods = [method for verb, method in _CONNECT_METHODS.items() if verb in subresource.verbs]
    if subresource.name == "proxy":
        methods += _PROXY_METHODS
    for method in methods:
        yield Operation(
            method=method,
            action="connect",
            identifier=_identifier(
                resource,
                "connect",
                f"{method.title()}{_scope(resource)}",
                f"{subresource.name.title()}{suffix}",
            ),
            about=f"{method.upper()} the {subresource.name} of a {resource.kind.kind}",
            kind=subresource.kind,
            # A parameter in the path is not a query parameter as well.
            parameters=() if suffix else _CONNECT[subresource.name],
            answer="text",
            subresource=subresource.name,
        )


def _watch(resource: Served, action: str, suffix: str) -> Operation:
    which = "an object" if action == "watch" else "objects"
    scope = "" if suffix == "ListForAllNamespaces" else _scope(resource)
    return Operation(
        method="get",
        action=action,
        identifier=_identifier(resource, "watch", scope, suffix),
        about=f"watch {which} of kind {resource.kind.kind}; deprecated: list with the parameter watch instead",
        kind=resource.kind,
        parameters=_LIST,
        answer="event",
    )


def _scope(resource: Served) -> str:
    return "Namespaced" if resource.namespaced else ""


def _operations(resource: Served, verbs: Iterable[str]) -> Iterator[Operation]:
    for verb in verbs:
        if verb in resource.verbs:
            yield _operation(resource, verb)


class _Verb(NamedTuple):
    """How a verb maps to HTTP."""

    method: str
    action: str
    words: str
    parameters: tuple[str, ...]
    body: Body
    answer: Answer
    codes: tuple[str, ...]


_LIST_TO_DELETE = tuple(name for name in _LIST if name not in {"watch", "allowWatchBookmarks"})
_VERBS: Mapping[str, _Verb] = {
    "list": _Verb("get", "list", "list or watch objects of kind", _LIST, "", "list", ("200",)),
    "create": _Verb("post", "post", "create a", _WRITE, "object", "object", ("200", "201", "202")),
    "deletecollection": _Verb(
        "delete", "deletecollection", "delete all selected objects of kind",
        (*_DELETE, *_LIST_TO_DELETE), "options", "status", ("200",),
    ),
    "get": _Verb("get", "get", "read a", (), "", "object", ("200",)),
    "update": _Verb("put", "put", "replace a", _WRITE, "object", "object", ("200", "201")),
    "patch": _Verb(
        "patch", "patch", "change parts of a", (*_WRITE, "force"), "patch", "object", ("200", "201")
    ),
    "delete": _Verb("delete", "delete", "delete a", _DELETE, "options", "status", ("200", "202")),
}  # fmt: skip
# As apiextensions-apiserver documents them.
_CUSTOM_VERBS: Mapping[str, _Verb] = {
    **_VERBS,
    "deletecollection": _VERBS["deletecollection"]._replace(parameters=_LIST, body=""),
    "get": _VERBS["get"]._replace(parameters=("resourceVersion",)),
    "patch": _VERBS["patch"]._replace(codes=("200",)),
}
_CUSTOM_PATCH_TYPES = tuple(name for name in PATCH_TYPES if "strategic" not in name)
_IDENTIFIERS = {"get": "read", "update": "replace", "deletecollection": "delete"}


def _operation(resource: Served, verb: str, suffix: str = "") -> Operation:
    how = _how(resource, verb)
    scope = "Collection" if verb == "deletecollection" else ""
    scope += "" if suffix else _scope(resource)
    return Operation(
        method=how.method,
        action=how.action,
        identifier=_identifier(resource, verb, scope, suffix),
        about=f"{how.words} {resource.kind.kind}",
        kind=resource.kind,
        parameters=how.parameters,
        body=how.body,
        answer="object" if verb == "delete" and resource.answers_whole else how.answer,
        codes=how.codes,
        schema=resource.schema,
        accepted=_accepted(resource, how),
    )


def _how(resource: Served, verb: str) -> _Verb:
    return (_CUSTOM_VERBS if resource.custom else _VERBS)[verb]


def _accepted(resource: Served, how: _Verb) -> tuple[str, ...]:
    if how.body == "patch":
        return _CUSTOM_PATCH_TYPES if resource.custom else PATCH_TYPES
    return MEDIA_TYPES if resource.custom else ANY_TYPE


def _sub_operation(resource: Served, subresource: ServedSubresource, verb: str) -> Operation:
    how = _how(resource, verb)
    part = "".join(word.title() for word in subresource.name.split("-"))
    has_object = subresource.schema is not None
    return Operation(
        method=how.method,
        action=how.action,
        identifier=_identifier(resource, verb, _scope(resource), part),
        about=f"{how.words} {subresource.name} of a {resource.kind.kind}",
        kind=resource.kind if resource.custom else subresource.kind,
        parameters=how.parameters if has_object else _CONNECT.get(subresource.name, ()),
        body=how.body if has_object else "",
        answer="object" if has_object else "text",
        codes=how.codes,
        schema=subresource.schema,
        subresource=subresource.name,
        accepted=_accepted(resource, how) if has_object else ANY_TYPE,
    )


def _identifier(resource: Served, verb: str, scope: str, suffix: str) -> str:
    name = _IDENTIFIERS.get(verb, verb)
    group = group_name(resource.group) + resource.version.title()
    return f"{name}{group}{scope}{resource.kind.kind}{suffix}"


def group_name(group: str) -> str:
    """Return a group's name in identifiers: ``RbacAuthorization`` for ``rbac.authorization.k8s.io``."""
    return "".join(part.title() for part in (group.removesuffix(".k8s.io") or "core").split("."))


def tag_of(group: str) -> str:
    """Return the tag of a group's operations: ``rbacAuthorization`` for ``rbac.authorization.k8s.io``."""
    name = group_name(group)
    return name[:1].lower() + name[1:]


def parameter_type(name: str) -> str:
    """Return the JSON type of a parameter."""
    return "boolean" if name in _BOOLEANS else "integer" if name in _INTEGERS else "string"


def answer(definitions: Definitions, resource: Served, operation: Operation) -> JSON:
    """Return the schema of an operation's response."""
    match operation.answer:
        case "list":
            return definitions.list_of(resource)
        case "event":
            return definitions.reference(compile_struct(WatchEvent))
        case "status":
            return definitions.reference(compile_struct(Status))
        case "object" if operation.schema is not None:
            return definitions.reference(operation.schema)
        case _:
            return {"type": "string"}


def body(definitions: Definitions, operation: Operation) -> JSON | None:
    """Return the schema of an operation's request body; None if it has none."""
    match operation.body:
        case "patch":
            return definitions.named(PATCH)
        case "options":
            return definitions.reference(compile_struct(DeleteOptions))
        case "object" if operation.schema is not None:
            return definitions.reference(operation.schema)
        case _:
            return None

"""Request info: the verb, resource, namespace and name of a request, from its method and path.

`parse` splits a request target into the `Attributes` that authorization sees and the rest that only a proxy reads.
It follows the API server's request info: a GET without a name is a list or, with ``watch``, a watch; a DELETE without a
name is a deletecollection; ``/api/v1/namespaces/x`` names a namespace, and what follows it a namespaced resource.

Ambiguous paths (encoded slashes, dot segments, empty segments, NUL) are rejected, not normalized, so that the path
authorized is the path served. Behind ``/proxy/`` any path is passed on to the backend.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import parse_qsl, unquote

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.auth.caller import Attributes
from kubelite.api.errors import BadRequest
from kubelite.api.machinery.field_selectors import NAME, required_values

VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
SELECTING = frozenset(
    {"list", "deletecollection"}
)  # a watch by its path (/watch/…) has no selectors to authorize
NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})
CACHED_PATH_LENGTH_MAX = 256
PROXIED = frozenset({"nodes", "pods", "services"})

Query = Mapping[str, Sequence[str]]
NO_QUERY: Query = {}


class RequestPath(Struct, frozen=True):
    """The parsed path of a request.

    `is_below_namespace`: the path has the form ``/namespaces/{namespace}/{resource}``. `rest`: the raw path behind
    ``…/proxy``; None without that subresource. `path_error`: why the path is rejected; "" if it is valid.
    """

    attributes: Attributes
    is_resource: bool
    legacy_watch: bool = False  # /api/v1/watch/…
    is_below_namespace: bool = False
    rest: str | None = None
    path_error: str = ""


def split_target(raw: str) -> tuple[str, str]:
    """Split a request target into raw path and raw query, without origin (absolute form) and fragment.

    Raises BadRequest for a target of another form.
    """
    if not raw.startswith("/"):
        if "://" not in raw:
            raise BadRequest("the request target is not a path")
        _, _, remainder = raw.partition("://")
        raw = "/" + remainder.partition("/")[2]
    path, _, query = raw.partition("?")
    return path, query.partition("#")[0]


def parse_query(raw: str) -> Query:
    """Return the values of each query parameter in order.

    Raises BadRequest beyond 1000 parameters or for bytes that are not UTF-8.
    """
    if not raw:
        return NO_QUERY
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, max_num_fields=1000, errors="strict")
    except (ValueError, UnicodeDecodeError) as error:
        raise BadRequest(f"cannot read the query: {error}") from error
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def flag(query: Query, name: str) -> bool | None:
    """Return a boolean parameter, None if it is absent. As upstream, all but "false" and "0" is true, also ""."""
    values = query.get(name)
    if not values:
        return None
    return values[0].lower() not in ("false", "0")


def parse(method: str, raw_path: str, query: Query = NO_QUERY) -> RequestPath:
    """Parse method, path and query. Raises BadRequest for a path that is not in canonical form."""
    short = len(raw_path) <= CACHED_PATH_LENGTH_MAX
    target = _cached(method, raw_path) if short else _parse(method, raw_path)
    if target.path_error:
        raise BadRequest(target.path_error)
    if query and target.is_resource and target.attributes.verb in SELECTING:
        return replace(target, attributes=_selecting(target.attributes, query))
    return target


def _selecting(attributes: Attributes, query: Query) -> Attributes:
    """Add to a list or deletecollection what its query says: selectors and, for a list, ``watch`` and one name."""
    field_selector, label_selector = (
        query.get(option, ("",))[0] for option in ("fieldSelector", "labelSelector")
    )
    if attributes.verb != "list":
        return replace(attributes, field_selector=field_selector, label_selector=label_selector)
    return replace(
        attributes,
        verb="watch" if flag(query, "watch") else "list",
        # A list or watch of one name is authorized for that name, as resourceNames rules expect.
        name=_path_segment(required_values(field_selector).get(NAME, "")),
        field_selector=field_selector,
        label_selector=label_selector,
    )


def _path_segment(name: str) -> str:
    return "" if name in (".", "..") or "/" in name or "%" in name else name


@lru_cache(maxsize=4096)
def _cached(method: str, raw_path: str) -> RequestPath:
    return _parse(method, raw_path)


def _parse(method: str, raw_path: str) -> RequestPath:
    raw_parts = raw_path.removeprefix("/").rstrip("/").split("/")
    rest = None
    if (at := _proxy_at(raw_parts)) is not None:
        rest = _behind(raw_path, at)
        raw_parts = raw_parts[: at + 1]
        checked = "/" + "/".join(raw_parts)
    else:
        checked = raw_path
    error, parts = _decoded(checked)
    if error:
        return RequestPath(
            attributes=Attributes(verb=method.lower(), path=raw_path),
            is_resource=False,
            path_error=error,
        )
    path = unquote(raw_path)
    if (prefix := _resource_prefix(parts)) is None:
        return RequestPath(attributes=Attributes(verb=method.lower(), path=path), is_resource=False)
    group, version, parts = prefix
    return _resource(method, path, group, version, parts, rest)


def _resource_prefix(parts: list[str]) -> tuple[str, str, list[str]] | None:
    if len(parts) >= 3 and parts[0] == "api":
        return "", parts[1], parts[2:]
    if len(parts) >= 4 and parts[0] == "apis":
        return parts[1], parts[2], parts[3:]
    return None


def _resource(
    method: str, path: str, group: str, version: str, parts: list[str], rest: str | None
) -> RequestPath:
    verb = VERBS.get(method, "")
    legacy_watch = parts[0] == "watch" and len(parts) > 1
    if legacy_watch:
        verb, parts = "watch", parts[1:]
    namespace, is_below_namespace = "", False
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        is_below_namespace = len(parts) > 2 and parts[2] not in NAMESPACE_SUBRESOURCES
        if is_below_namespace:
            parts = parts[2:]
    name = parts[1] if len(parts) > 1 else ""
    if not name:
        verb = {"get": "list", "delete": "deletecollection"}.get(verb, verb)
    return RequestPath(
        attributes=Attributes(
            verb=verb,
            group=group,
            version=version,
            resource=parts[0],
            subresource="/".join(parts[2:]) if rest is None else "proxy",
            namespace=namespace,
            name=name,
            path=path,
        ),
        is_resource=True,
        legacy_watch=legacy_watch,
        is_below_namespace=is_below_namespace,
        rest=rest,
    )


def _proxy_at(parts: list[str]) -> int | None:
    """Return the index of the ``proxy`` segment of a proxy subresource, or None."""
    if len(parts) < 5 or parts[0] != "api":
        return None
    start = 4 if parts[2] == "namespaces" and len(parts) > 5 else 2
    if len(parts) > start + 2 and parts[start] in PROXIED and parts[start + 2] == "proxy":
        return start + 2
    return None


def _behind(raw_path: str, index: int) -> str:
    rest = raw_path
    for _ in range(index + 1):
        rest = rest[1:]
        position = rest.find("/")
        if position < 0:
            return ""
        rest = rest[position:]
    return rest


def _decoded(raw_path: str) -> tuple[str, list[str]]:
    """Return why a path is rejected ("" if it is valid), and its decoded segments."""
    trimmed = raw_path[1:].removesuffix("/")
    if not trimmed:
        return "", []
    parts = []
    for raw in trimmed.split("/"):
        part = raw
        if "%" in raw:
            try:
                part = unquote(raw, errors="strict")
            except UnicodeDecodeError:
                return "the request path is not valid UTF-8", []
        if not part:
            return "the request path has an empty segment", []
        if part in (".", "..") or "/" in part or "\\" in part or "\0" in part:
            return f'the request path has a segment that is not allowed: "{raw}"', []
        parts.append(part)
    return "", parts

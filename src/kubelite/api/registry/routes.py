"""Decides which paths a resource has, and which verbs each path serves.

A path has one of four forms: a collection, the collection of a namespaced kind over all namespaces, an item, and a
subresource of an item. A form that the kind lacks is not found (404) for every caller. `check_scope` runs before
authorization, so that rights in a namespace never reach a cluster-scoped kind. A verb that the form does not serve is
not allowed (405). The routes are those that the API server of Kubernetes registers.
"""

from kubelite.api.auth.caller import Attributes
from kubelite.api.errors import MethodNotAllowed, NotFound
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.registry.resource import Resource

COLLECTION = frozenset({"list", "watch", "create", "deletecollection"})
ALL_NAMESPACES = frozenset({"list", "watch"})
ITEM = frozenset({"get", "update", "patch", "delete"})
SUBRESOURCE = ITEM | {"create"}
BY_ITEM_OR_SELECTOR = frozenset(
    {"list", "watch"}
)  # a name in their attributes comes from the field selector


def check_scope(
    resource: Resource, attributes: Attributes, *, below_namespace: bool | None = None
) -> None:
    """Raise NotFound for a path whose scope is not the kind's.

    `below_namespace` says whether the path has the form ``/namespaces/{namespace}/{resource}``. None: derive it from
    the attributes, which name a Namespace as its own namespace.
    """
    if below_namespace is None:
        below_namespace = bool(attributes.namespace) and not _is_own_namespace(resource, attributes)
    if below_namespace and not resource.namespaced:
        raise not_found()
    if resource.namespaced and not attributes.namespace and _is_item(attributes):
        raise not_found()


def check_verb(resource: Resource, attributes: Attributes) -> None:
    """Raise NotFound for a form of path that the kind does not have, MethodNotAllowed for a verb it does not serve."""
    form, verbs = _form(resource, attributes), resource.verbs
    if attributes.subresource:
        subresource = resource.subresources.get(attributes.subresource)
        verbs = subresource.verbs if subresource is not None and attributes.name else ()
    if attributes.verb not in form or attributes.verb not in verbs:
        raise not_allowed(resource) if form.intersection(verbs) else not_found()


def _form(resource: Resource, attributes: Attributes) -> frozenset[str]:
    """Return the verbs that the form of the path can serve at most."""
    if attributes.subresource:
        return SUBRESOURCE
    if _is_item(attributes):
        return ITEM
    return COLLECTION if attributes.namespace or not resource.namespaced else ALL_NAMESPACES


def _is_item(attributes: Attributes) -> bool:
    if attributes.subresource:
        return True
    return bool(attributes.name) and attributes.verb not in BY_ITEM_OR_SELECTOR


def _is_own_namespace(resource: Resource, attributes: Attributes) -> bool:
    return resource.kind == Namespace.gvk and attributes.namespace == attributes.name


def not_found() -> NotFound:
    """Return the error for a path that does not exist."""
    return NotFound("the server could not find the requested resource")


def not_allowed(resource: Resource | None = None) -> MethodNotAllowed:
    """Return the error for a verb that a path does not serve."""
    return MethodNotAllowed(
        "the server does not allow this method on the requested resource",
        group=resource.group if resource is not None else "",
        kind=resource.plural if resource is not None else "",
    )

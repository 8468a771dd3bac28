"""Decides which paths a resource has, and which verbs each path serves.

A path has one of four forms: a collection, the collection of a namespaced kind over all namespaces, an item, and a
subresource of an item. A form that the kind lacks is not found (404) for every caller. `check_scope` runs before
authorization, so that rights in a namespace never reach a cluster-scoped kind. A verb that the form does not serve is
not allowed (405). The routes are those that the API server of Kubernetes registers.
"""

from kubelite.api.auth.caller import Attributes
from kubelite.api.errors import MethodNotAllowed, NotFound, PageNotFound
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.machinery import causes
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
    if resource.type is None:
        _check_custom(resource, attributes)
        return
    form, verbs = _form(resource, attributes), resource.verbs
    if attributes.subresource:
        subresource = resource.subresources.get(attributes.subresource)
        verbs = subresource.verbs if subresource is not None and attributes.name else ()
    if attributes.verb not in form or attributes.verb not in verbs:
        raise not_allowed(resource) if form.intersection(verbs) else not_found()


def _check_custom(resource: Resource, attributes: Attributes) -> None:
    """Check the verb on a custom resource, whose server has no routes: it looks at one part of the path after another.

    So a POST to the path of an object creates the object of the body, and a subresource that the definition lacks is
    not found as an object.
    """
    verb, verbs, form = attributes.verb, resource.verbs, _form(resource, attributes)
    if attributes.subresource:
        served = resource.subresources.get(attributes.subresource)
        if served is None:
            raise object_not_found(resource, attributes.name)
        if verb not in served.verbs:
            raise unsupported(resource, verb)
    elif verb not in (SUBRESOURCE if form is ITEM else form) or verb not in verbs:
        raise not_found() if form is ALL_NAMESPACES else not_allowed(resource)


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


def not_found() -> PageNotFound:
    """Return the error for a path that does not exist."""
    return PageNotFound("the server could not find the requested resource")


def object_not_found(resource: Resource, name: str) -> NotFound:
    """Return the error for an object that does not exist."""
    return NotFound(
        f"{resource.group_resource} {causes.quoted(name)} not found",
        group=resource.group,
        kind=resource.plural,
        name=name,
    )


def unsupported(resource: Resource, verb: str) -> MethodNotAllowed:
    """Return the error for a verb that a subresource does not serve, where the server knows no routes."""
    return MethodNotAllowed(
        f'{verb} is not supported on resources of kind "{resource.group_resource}"',
        group=resource.group,
        kind=resource.plural,
    )


def not_allowed(resource: Resource | None = None) -> MethodNotAllowed:
    """Return the error for a verb that a path does not serve."""
    return MethodNotAllowed(
        "the server does not allow this method on the requested resource",
        group=resource.group if resource is not None else "",
        kind=resource.plural if resource is not None else "",
    )

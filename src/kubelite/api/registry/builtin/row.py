"""Makes the rows of built-in kinds, with what most of them have in common."""

from collections.abc import Mapping

from msgspec.structs import replace

from kubelite.api.kinds.model import GroupVersionKind, Kind
from kubelite.api.machinery.columns.custom import CREATED_AT
from kubelite.api.machinery.columns.layout import Layout
from kubelite.api.machinery.field_selectors import ANY_KIND, Fields
from kubelite.api.machinery.shaping.go import Defaulter, GoShape
from kubelite.api.registry.conversion import Conversion
from kubelite.api.registry.resource import (
    STANDARD,
    ListComputed,
    Post,
    Resource,
    Subresource,
)
from kubelite.api.registry.rules.sets import NO_RULES, NO_WARNINGS, Rules, Warnings
from kubelite.api.registry.strategy import ORDINARY, Conduct, Strategy

CHANGE = ("get", "patch", "update")
PROXY = ("create", "delete", "get", "patch", "update")
CREATE = ("create",)
CONNECT = ("create", "get")
ALL = ("all",)
EXTENSIONS = ("api-extensions",)


def row(  # noqa: PLR0913 - each is a column of the table
    type_: type[Kind],
    plural: str,
    *more: Subresource | str,
    cluster: bool = False,
    short: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    verbs: tuple[str, ...] = STANDARD,
    stored_as: Resource | None = None,
    conversion: Conversion | None = None,
    post: Post | None = None,
    computed: ListComputed | None = None,
    deprecation: str = "",
    rules: Rules = NO_RULES,
    warnings: Warnings = NO_WARNINGS,
    defaults: Defaulter | None = None,
    layout: Layout = CREATED_AT,
    fields: Fields = ANY_KIND,
    strategy: type[Strategy] = Strategy,
    conduct: Conduct = ORDINARY,
) -> Resource:
    """Make a row; a subresource given by name alone has the verbs `CHANGE` and the object's own kind."""
    gvk = type_.gvk
    subresources = _subresources(gvk, more)
    return Resource(
        group=gvk.group,
        version=gvk.version,
        plural=plural,
        singular=gvk.kind.lower(),
        kind=gvk,
        type=type_,
        namespaced=not cluster,
        verbs=verbs,
        short_names=short,
        categories=categories,
        subresources=subresources,
        storage=f"{plural}.{gvk.group or 'core'}" if stored_as is None else stored_as.storage,
        stored_as=stored_as,
        conversion=conversion,
        shape=GoShape(type_, defaults),
        rules=rules,
        warnings=warnings,
        strategy=strategy(replace(conduct, has_status="status" in subresources)),
        layout=layout,
        fields=fields,
        post=post,
        computed=computed,
        deprecation=deprecation,
    )


def _subresources(
    gvk: GroupVersionKind, more: tuple[Subresource | str, ...]
) -> Mapping[str, Subresource]:
    given = (Subresource(one, CHANGE, gvk) if isinstance(one, str) else one for one in more)
    return {one.name: one for one in given}

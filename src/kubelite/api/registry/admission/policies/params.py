"""The objects that parametrize policies, from mirrors of the kinds that policies in effect name."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from kubelite.api.kinds.admissionregistration import ParamKind, ParamRef
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.selectors import label_selector
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.table import ResourceTable

JSON = dict[str, Any]
DENY = "Deny"


class Mirrored(Protocol):
    """The objects of one resource."""

    @property
    def is_synced(self) -> bool:
        """Whether they are complete."""
        ...

    def get(self, name: str, namespace: str = "") -> JSON | None:
        """Return one object."""
        ...

    def list(self, namespace: str = "") -> Sequence[JSON]:
        """Return all objects, or those of a namespace, in the order of their names."""
        ...

    def close(self) -> None:
        """Give the mirror back."""
        ...


class Mirroring(Protocol):
    """Opens mirrors of any resource."""

    def open(self, row: Resource, type_: Any, namespace: str = "") -> Mirrored:
        """Return the mirror of a resource's objects as `type_`."""
        ...


class NotConfigured(Exception):
    """A policy or binding cannot be asked as it is configured; the text is worded as upstream."""


class Params:
    """Finds the params of policies. Mirrors are kept as long as a policy in effect names their kind."""

    def __init__(self, mirroring: Mirroring, resources: ResourceTable) -> None:
        self._mirroring = mirroring
        self._resources = resources
        self._mirrors: dict[Resource, Mirrored] = {}

    def keep(self, kinds: Iterable[ParamKind]) -> None:
        """Open the mirrors of kinds that are served, and close those of all others."""
        rows = {row for kind in kinds if (row := self.row(kind)) is not None}
        for row in self._mirrors.keys() - rows:
            self._mirrors.pop(row).close()
        for row in rows - self._mirrors.keys():
            self._mirrors[row] = self._mirroring.open(row, dict)

    def row(self, kind: ParamKind) -> Resource | None:
        """Return the row of a kind; None: it is not served."""
        return self._resources.by_kind(named(kind))

    def require(self, kind: ParamKind | None) -> Resource | None:
        """Return the row of a kind, None if there is none to be found; raises NotConfigured if it is not served."""
        row = None if kind is None else self.row(kind)
        if kind is not None and row is None:
            name = named(kind)
            raise NotConfigured(
                f"failed to find resource referenced by paramKind: '{name.group}/{name.version}, Kind={name.kind}'"
            )
        return row

    def find(
        self, kind: ParamKind | None, reference: ParamRef | None, namespace: str
    ) -> Sequence[JSON | None]:
        """Return the params for a binding and a request in `namespace`; raises NotConfigured.

        None among them stands for a policy or binding without params; no params at all: there is nothing to ask.
        """
        if kind is None:
            return (None,)
        row = self.require(kind)
        assert row is not None
        if reference is None:
            return (None,)
        found = self._chosen(row, kind, reference, namespace)
        if not found and reference.parameterNotFoundAction == DENY:
            raise NotConfigured(
                "no params found for policy binding with `Deny` parameterNotFoundAction"
            )
        return found

    def _chosen(
        self, row: Resource, kind: ParamKind, reference: ParamRef, namespace: str
    ) -> Sequence[JSON]:
        if row.namespaced:
            namespace = reference.namespace or namespace
            if not namespace:
                raise NotConfigured(
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                )
        elif reference.namespace:
            raise NotConfigured(
                "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
            )
        else:
            namespace = ""
        mirror = self._mirrors.get(row)
        if mirror is None or not mirror.is_synced:
            text = f"&ParamKind{{APIVersion:{kind.apiVersion},Kind:{kind.kind},}}"
            raise NotConfigured(f"paramKind kind `{text}` not yet synced to use for admission")
        if reference.name:
            item = mirror.get(reference.name, namespace)
            return () if item is None else (item,)
        if reference.selector is None:
            raise NotConfigured("one of name or selector must be provided")
        selector = label_selector(reference.selector, is_stored=True)
        return [
            item
            for item in mirror.list(namespace)
            if selector.matches((item.get("metadata") or {}).get("labels") or {})
        ]


def named(kind: ParamKind) -> GroupVersionKind:
    """Return the kind that a policy names."""
    group, _, version = kind.apiVersion.rpartition("/")
    return GroupVersionKind(group, version, kind.kind)

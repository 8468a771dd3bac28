"""Decides which requests a webhook or a policy concerns, by rules and by selectors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.auth.lookup import Lookup
from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.meta import LabelSelector
from kubelite.api.machinery.causes import quoted
from kubelite.api.machinery.selectors import EVERYTHING, Selector, label_selector
from kubelite.api.registry.admission.request import AdmissionRequest, Verb
from kubelite.api.registry.resource import Resource

ANY = "*"
# Nobody could mend a webhook or policy that refuses its own change.
EXEMPT_GROUP = "admissionregistration.k8s.io"
EXEMPT = frozenset(
    {
        "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    }
)


class Place(Struct, frozen=True):
    """Where a request is made: what rules are compared with."""

    operation: str
    group: str
    version: str
    plural: str
    subresource: str
    namespace: str

    def at(self, row: Resource) -> "Place":
        """Return the place of the same request at another version or kind of its objects."""
        return replace(self, group=row.group, version=row.version, plural=row.plural)

    @property
    def is_namespaced(self) -> bool:
        """Whether it is about an object in a namespace; a Namespace is in none."""
        return bool(self.namespace) and (self.group, self.plural) != ("", "namespaces")


def place_of(request: AdmissionRequest) -> Place:
    """Return the place of a request, in the version of its path."""
    asked = request.attributes
    return Place(
        request.operation.value,
        asked.group,
        asked.version,
        asked.resource,
        asked.subresource,
        asked.namespace,
    )


class Rule(Struct, frozen=True):
    """Operations and resources; ``*`` stands for all."""

    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    resources: tuple[tuple[str, str], ...]  # plural and subresource
    scope: str

    def matches(self, place: Place) -> bool:
        """Return whether a request at this place is meant."""
        return (
            _has(self.operations, place.operation)
            and _has(self.groups, place.group)
            and _has(self.versions, place.version)
            and any(
                plural in (ANY, place.plural) and part in (ANY, place.subresource)
                for plural, part in self.resources
            )
            and (self.scope == ANY or (self.scope == "Namespaced") is place.is_namespaced)
        )


def _has(names: frozenset[str], name: str) -> bool:
    return name in names or ANY in names


def rule_of(
    operations: Sequence[str],
    groups: Sequence[str],
    versions: Sequence[str],
    resources: Sequence[str],
    scope: str | None,
) -> Rule:
    """Compile a rule of a webhook or policy."""
    parts = (name.partition("/") for name in resources)
    return Rule(
        frozenset(operations),
        frozenset(groups),
        frozenset(versions),
        tuple((plural, part) for plural, _, part in parts),
        scope or ANY,
    )


class Selectors(Struct, frozen=True):
    """The namespaces and objects that a webhook or policy concerns."""

    namespaces: Selector = EVERYTHING
    objects: Selector = EVERYTHING

    def select_objects(self, request: AdmissionRequest) -> bool:
        """Return whether the object is meant, by its labels before or after the request."""
        if self.objects.is_everything:
            return True
        if request.operation is Verb.CONNECT:  # its options have no labels to be selected by
            return False
        if request.is_projected:  # what a Scale shows has no labels
            return self.objects.matches({})
        return any(
            item is not None and self.objects.matches(_labels(item))
            for item in (request.object, request.old)
        )

    def select_namespace(self, request: AdmissionRequest, lookup: Lookup) -> bool:
        """Return whether the namespace is meant; objects of the cluster always are. Raises NotFound."""
        if self.namespaces.is_everything:
            return True
        place = place_of(request)
        if place.is_namespaced:
            found = lookup.get(Namespace, place.namespace)
            if found is None:
                raise NotFound(
                    f"namespaces {quoted(place.namespace)} not found",
                    kind="namespaces",
                    name=place.namespace,
                )
            return self.namespaces.matches(found.metadata.labels)
        if (place.group, place.plural) == ("", "namespaces"):
            item = request.object or request.old
            return item is not None and self.namespaces.matches(_labels(item))
        return True


def _labels(item: Mapping[str, Any]) -> Mapping[str, str]:
    labels: Mapping[str, str] = (item.get("metadata") or {}).get("labels") or {}
    return labels


def selector_of(selector: LabelSelector | None) -> Selector:
    """Compile a selector of a webhook or policy; none selects everything."""
    return EVERYTHING if selector is None else label_selector(selector, is_stored=True)


def is_exempt(place: Place) -> bool:
    """Return whether no webhook and no policy is asked about a request at this place."""
    return place.group == EXEMPT_GROUP and place.plural in EXEMPT


def matched(
    rules: Sequence[Rule], place: Place, equivalents: Callable[[], Sequence[Resource]]
) -> tuple[str, str, str] | None:
    """Return group, version and plural at which the first matching rule means a request; None: none does.

    `equivalents` are the other rows of the same objects, which match where none of the rules names the request's own.
    """
    if any(rule.matches(place) for rule in rules):
        return place.group, place.version, place.plural
    others = equivalents()
    for rule in rules:
        for row in others:
            if rule.matches(place.at(row)):
                return row.group, row.version, row.plural
    return None

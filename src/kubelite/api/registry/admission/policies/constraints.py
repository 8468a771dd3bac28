"""Which requests a policy or binding is about: rules with exceptions, names, and selectors."""

from collections.abc import Sequence

from msgspec import Struct

from kubelite.api.auth.lookup import Lookup
from kubelite.api.kinds.admissionregistration import MatchResources, NamedRuleWithOperations
from kubelite.api.registry.admission.matching import (
    EXEMPT_GROUP,
    Place,
    Rule,
    Selectors,
    place_of,
    rule_of,
    selector_of,
)
from kubelite.api.registry.admission.refusal import object_name
from kubelite.api.registry.admission.request import AdmissionRequest
from kubelite.api.registry.table import ResourceTable

# Nobody could mend a policy that refuses its own change; without reviews nothing in the cluster works.
EXEMPT = frozenset(
    {
        (EXEMPT_GROUP, "validatingadmissionpolicies"),
        (EXEMPT_GROUP, "validatingadmissionpolicybindings"),
        (EXEMPT_GROUP, "mutatingadmissionpolicies"),
        (EXEMPT_GROUP, "mutatingadmissionpolicybindings"),
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("authentication.k8s.io", "tokenreviews"),
        ("authorization.k8s.io", "localsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
    }
)
Found = tuple[str, str, str]  # group, version and plural as which a rule matched a request


def is_exempt(request: AdmissionRequest) -> bool:
    """Return whether no policy is asked about a request."""
    return (request.attributes.group, request.attributes.resource) in EXEMPT


class _NamedRule(Struct, frozen=True):
    rule: Rule
    names: frozenset[str]  # none: all

    def matches(self, place: Place, name: str) -> bool:
        return self.rule.matches(place) and (not self.names or name in self.names)


class Constraints(Struct, frozen=True):
    """Compiled constraints of a policy, or the resources that a binding narrows it to."""

    rules: Sequence[_NamedRule]
    excluded: Sequence[_NamedRule]
    selectors: Selectors
    is_equivalent: bool

    def match(
        self, request: AdmissionRequest, lookup: Lookup, resources: ResourceTable
    ) -> Found | None:
        """Return as what a request is meant; None: it is not. Raises NotFound if its namespace is unknown."""
        place, name = place_of(request), object_name(request)
        found: Found | None = (place.group, place.version, place.plural)
        if self.rules:
            found = self._find(self.rules, place, name, request, resources)
        if found is None or not self.selectors.select_objects(request):
            return None
        if self._find(self.excluded, place, name, request, resources) is not None:
            return None
        return found if self.selectors.select_namespace(request, lookup) else None

    def _find(
        self,
        rules: Sequence[_NamedRule],
        place: Place,
        name: str,
        request: AdmissionRequest,
        resources: ResourceTable,
    ) -> Found | None:
        if any(rule.matches(place, name) for rule in rules):
            return place.group, place.version, place.plural
        if not self.is_equivalent or not rules:
            return None
        storage = request.resource.storage
        others = [
            place.at(row)
            for row in resources.all()
            if row.storage == storage and row is not request.served
        ]
        for rule in rules:
            for other in others:
                if rule.matches(other, name):
                    return other.group, other.version, other.plural
        return None


def _named(rule: NamedRuleWithOperations) -> _NamedRule:
    compiled = rule_of(
        rule.operations, rule.apiGroups, rule.apiVersions, rule.resources, rule.scope
    )
    return _NamedRule(compiled, frozenset(rule.resourceNames))


def constraints_of(resources: MatchResources | None) -> Constraints | None:
    """Compile constraints; None: every request is meant."""
    if resources is None:
        return None
    return Constraints(
        [_named(rule) for rule in resources.resourceRules],
        [_named(rule) for rule in resources.excludeResourceRules],
        Selectors(selector_of(resources.namespaceSelector), selector_of(resources.objectSelector)),
        is_equivalent=resources.matchPolicy == "Equivalent",
    )

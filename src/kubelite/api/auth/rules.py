"""Pure matching of requests against the policy rules of a role, compiled for look-up.

A compiled role maps (verb, API group, resource) to the names it is limited to. A request looks up at most twelve keys,
however many rules there are: each of the three parts itself and as a star, and ``*/subresource``.
"""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from kubelite.api.auth.caller import Attributes
from kubelite.api.kinds.rbac import PolicyRule
from kubelite.api.machinery.field_selectors import NAME, required_values

ANY = "*"
Key = tuple[str, str, str]
NAMED_LISTS = ("list", "watch")


class CompiledRules(Struct, frozen=True):
    """The rules of a role, indexed."""

    rules: tuple[PolicyRule, ...]
    resources: Mapping[Key, frozenset[str] | None]  # None: any name
    paths: Mapping[str, tuple[str, ...]]  # verb to paths; a trailing star matches any rest


class Asked(Struct, frozen=True):
    """A request as the look-up keys for many roles."""

    keys: tuple[Key, ...]  # empty for a path
    name: str
    verb: str
    path: str


def compiled(rules: Sequence[PolicyRule]) -> CompiledRules:
    """Compile a role's rules."""
    resources: dict[Key, frozenset[str] | None] = {}
    paths: dict[str, list[str]] = {}
    for rule in rules:
        names = frozenset(rule.resourceNames) or None
        for key in _keys_of(rule):
            known = resources.get(key, frozenset())
            resources[key] = None if names is None or known is None else known | names
        for verb in rule.verbs:
            if rule.nonResourceURLs:
                paths.setdefault(verb, []).extend(rule.nonResourceURLs)
    return CompiledRules(
        rules=tuple(rules),
        resources=resources,
        paths={verb: tuple(urls) for verb, urls in paths.items()},
    )


def asked(attributes: Attributes) -> Asked:
    """Return the look-up keys of a request."""
    if not attributes.resource:
        return Asked((), "", attributes.verb, attributes.path)
    combined = attributes.resource
    resources: tuple[str, ...] = (combined, ANY)
    if attributes.subresource:
        combined = f"{attributes.resource}/{attributes.subresource}"
        resources = (combined, ANY, f"{ANY}/{attributes.subresource}")
    keys = tuple(
        (verb, group, resource)
        for verb in (attributes.verb, ANY)
        for group in (attributes.group, ANY)
        for resource in resources
    )
    return Asked(keys, object_name(attributes), attributes.verb, "")


def object_name(attributes: Attributes) -> str:
    """Return the object name of a request ("": none); a list or watch may name it in its field selector."""
    if attributes.name or attributes.verb not in NAMED_LISTS:
        return attributes.name
    return required_values(attributes.field_selector).get(NAME, "")


def allows(role: CompiledRules, request: Asked) -> bool:
    """Return whether a role allows a request."""
    for key in request.keys:
        names = role.resources.get(key, frozenset())
        if names is None or request.name in names:
            return True
    return not request.keys and _allows_path(role, request)


def _allows_path(role: CompiledRules, request: Asked) -> bool:
    return any(
        path_matches(pattern, request.path)
        for verb in (request.verb, ANY)
        for pattern in role.paths.get(verb, ())
    )


def path_matches(pattern: str, path: str) -> bool:
    """Return whether a rule's URL matches a path; a trailing star matches any rest."""
    if pattern in (ANY, path):
        return True
    return pattern.endswith("*") and path.startswith(pattern.rstrip("*"))


def _keys_of(rule: PolicyRule) -> Iterator[Key]:
    for verb in rule.verbs:
        for group in rule.apiGroups:
            for resource in rule.resources:
                yield verb, group, resource


# Covering: do the rules that a caller holds include those of a role? Rules are first broken into their smallest parts.


def broken_down(rule: PolicyRule) -> Iterator[PolicyRule]:
    """Split a rule into rules of one verb, one group and one resource (and name), or one verb and one URL."""
    for verb, group, resource in _keys_of(rule):
        for name in rule.resourceNames or [""]:
            yield PolicyRule(
                verbs=[verb],
                apiGroups=[group],
                resources=[resource],
                resourceNames=[name] if name else [],
            )
    for verb in rule.verbs:
        for url in rule.nonResourceURLs:
            yield PolicyRule(verbs=[verb], nonResourceURLs=[url])


def covers(held: CompiledRules, part: PolicyRule) -> bool:
    """Return whether `held` allows everything that a broken-down rule allows."""
    verb = part.verbs[0]
    if part.nonResourceURLs:
        return any(
            _covers_url(pattern, part.nonResourceURLs[0])
            for held_verb in (verb, ANY)
            for pattern in held.paths.get(held_verb, ())
        )
    group, resource = part.apiGroups[0], part.resources[0]
    resources = [resource, ANY]
    if "/" in resource:
        resources.append(f"{ANY}/{resource.partition('/')[2]}")
    for held_verb in {verb, ANY}:
        for held_group in {group, ANY}:
            for held_resource in resources:
                names = held.resources.get((held_verb, held_group, held_resource), frozenset())
                if names is None or (part.resourceNames and part.resourceNames[0] in names):
                    return True
    return False


def _covers_url(pattern: str, url: str) -> bool:
    if pattern in (ANY, url):
        return True
    return pattern.endswith("*") and url.startswith(pattern.rstrip("*"))

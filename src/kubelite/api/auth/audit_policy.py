"""The audit policy: which requests are audited and at which level, read from a file of Kubernetes' format."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import msgspec
from msgspec import Struct

from kubelite.api.auth.caller import Attributes, Caller
from kubelite.api.auth.rules import path_matches

API_VERSION = "audit.k8s.io/v1"
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")


class Level(IntEnum):
    """The audit level: how much of a request is written."""

    NONE = 0
    METADATA = 1  # user, verb, object, times and status
    REQUEST = 2  # and the request's body
    REQUEST_RESPONSE = 3  # and the response's body


LEVELS = {
    "None": Level.NONE,
    "Metadata": Level.METADATA,
    "Request": Level.REQUEST,
    "RequestResponse": Level.REQUEST_RESPONSE,
}
LEVEL_NAMES = {level: name for name, level in LEVELS.items()}


class PolicyInvalid(Exception):
    """The policy file cannot be used."""


class GroupResources(Struct, frozen=True, forbid_unknown_fields=True):
    """Resources of one API group; an empty list means all of the group."""

    group: str = ""
    resources: tuple[str, ...] = ()
    resourceNames: tuple[str, ...] = ()  # noqa: N815 - as on the wire


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """One rule; an empty field matches everything."""

    level: str
    users: tuple[str, ...] = ()
    userGroups: tuple[str, ...] = ()  # noqa: N815 - as on the wire
    verbs: tuple[str, ...] = ()
    resources: tuple[GroupResources, ...] = ()
    namespaces: tuple[str, ...] = ()
    nonResourceURLs: tuple[str, ...] = ()  # noqa: N815 - as on the wire
    omitStages: tuple[str, ...] = ()  # noqa: N815 - as on the wire
    omitManagedFields: bool | None = None  # noqa: N815 - as on the wire


class PolicyFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the policy file."""

    rules: tuple[Rule, ...]
    apiVersion: str = API_VERSION  # noqa: N815 - as on the wire
    kind: str = "Policy"
    metadata: dict[str, Any] = {}
    omitStages: tuple[str, ...] = ()  # noqa: N815 - as on the wire
    omitManagedFields: bool = False  # noqa: N815 - as on the wire


class Extent(Struct, frozen=True):
    """The audit settings for one request."""

    level: Level
    omitted_stages: frozenset[str] = frozenset()
    omits_managed_fields: bool = False


NOTHING = Extent(Level.NONE)


class AuditPolicy:
    """Decides by the first matching rule; without one nothing is written."""

    def __init__(self, file: PolicyFile) -> None:
        self._rules = [(rule, _extent(rule, file)) for rule in file.rules]

    @classmethod
    def read(cls, text: str) -> "AuditPolicy":
        """Parse a YAML or JSON policy; raises PolicyInvalid."""
        import yaml

        try:
            file = msgspec.convert(yaml.safe_load(text), PolicyFile)
        except RecursionError as error:
            raise PolicyInvalid("cannot use the audit policy: it is nested too deeply") from error
        except (yaml.YAMLError, msgspec.ValidationError) as error:
            raise PolicyInvalid(f"cannot use the audit policy: {error}") from error
        if file.apiVersion != API_VERSION or file.kind != "Policy":
            raise PolicyInvalid(
                f"cannot use the audit policy: it is a {file.kind} of {file.apiVersion}"
            )
        for rule in file.rules:
            _check(rule)
        _check_stages(file.omitStages)
        return cls(file)

    def extent(self, caller: Caller, attributes: Attributes) -> Extent:
        """Return the audit settings for a request."""
        for rule, extent in self._rules:
            if _matches(rule, caller, attributes):
                return extent
        return NOTHING


def _extent(rule: Rule, file: PolicyFile) -> Extent:
    managed = file.omitManagedFields if rule.omitManagedFields is None else rule.omitManagedFields
    return Extent(LEVELS[rule.level], frozenset({*rule.omitStages, *file.omitStages}), managed)


def _check(rule: Rule) -> None:
    if rule.level not in LEVELS:
        raise PolicyInvalid(f'cannot use the audit policy: there is no level "{rule.level}"')
    if rule.nonResourceURLs and (rule.resources or rule.namespaces):
        raise PolicyInvalid(
            "cannot use the audit policy: a rule cannot apply to both resources and other URLs"
        )
    _check_stages(rule.omitStages)


def _check_stages(stages: Sequence[str]) -> None:
    for stage in stages:
        if stage not in STAGES:
            raise PolicyInvalid(f'cannot use the audit policy: there is no stage "{stage}"')


def _matches(rule: Rule, caller: Caller, attributes: Attributes) -> bool:
    if rule.users and caller.user not in rule.users:
        return False
    if rule.userGroups and not set(rule.userGroups).intersection(caller.groups):
        return False
    if rule.verbs and attributes.verb not in rule.verbs and "*" not in rule.verbs:
        return False
    if not attributes.resource:
        if rule.nonResourceURLs:
            return any(path_matches(pattern, attributes.path) for pattern in rule.nonResourceURLs)
        return not (rule.namespaces or rule.resources)
    if rule.nonResourceURLs:
        return False
    if rule.namespaces and attributes.namespace not in rule.namespaces:
        return False
    return not rule.resources or any(_names(one, attributes) for one in rule.resources)


def _names(given: GroupResources, attributes: Attributes) -> bool:
    if given.group != attributes.group:
        return False
    if given.resourceNames and attributes.name not in given.resourceNames:
        return False
    if not given.resources:
        return True
    main, sub = attributes.resource, attributes.subresource
    wanted = {"*", f"{main}/{sub}", f"{main}/*", f"*/{sub}"} if sub else {"*", main}
    return bool(wanted.intersection(given.resources))

"""The checks and warnings of one kind, as its row names them."""

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from kubelite.api.machinery import names
from kubelite.api.machinery.work_cost import rules_cost
from kubelite.api.registry.rules.metadata import NameRule
from kubelite.api.registry.rules.values import JSON, Out

Check = Callable[[JSON], Out]
UpdateCheck = Callable[[JSON, JSON], Out]
OnCreate = Callable[[JSON], Iterable[str]]
OnUpdate = Callable[[JSON, JSON], Iterable[str]]


class Rules(Struct, frozen=True):
    """The checks of one kind: of its name, a new object, an update, and a status update."""

    validate: Check | None = None
    validate_update: UpdateCheck | None = None  # None: an update is checked like a new object
    validate_status_update: UpdateCheck | None = None
    name: NameRule = names.dns_subdomain
    subresources: Mapping[str, UpdateCheck] = {}
    cost: Callable[[int], int] = rules_cost  # of the checks, by the bytes of the object


class Warnings(Struct, frozen=True):
    """The warnings of one kind: about a new object, a changed one, and one whose status changed."""

    create: OnCreate | None = None
    update: OnUpdate | None = None
    status: OnUpdate | None = None


def always(rule: OnCreate, status: OnUpdate | None = None) -> Warnings:
    """Return warnings about a changed object as about a new one."""
    return Warnings(rule, lambda thing, _: rule(thing), status)


NO_RULES = Rules(name=names.path_segment)  # roles and others have names such as system:node
NO_WARNINGS = Warnings()

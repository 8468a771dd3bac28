"""The checks and warnings of one kind, as its row names them."""

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from kubelite.api.machinery import names
from kubelite.api.registry.rules.metadata import NameRule
from kubelite.api.registry.rules.values import JSON, Out

Check = Callable[[JSON], Out]
UpdateCheck = Callable[[JSON, JSON], Out]
OnCreate = Callable[[JSON], Iterable[str]]
OnUpdate = Callable[[JSON, JSON], Iterable[str]]

COMPILING = 4  # the passes of rules that compile expressions, about 2 µs a character


class Rules(Struct, frozen=True):
    """The checks of one kind: of its name, a new object, an update, and a status update."""

    validate: Check | None = None
    validate_update: UpdateCheck | None = None  # None: an update is checked like a new object
    validate_status_update: UpdateCheck | None = None
    name: NameRule = names.dns_subdomain
    subresources: Mapping[str, UpdateCheck] = {}
    passes: int = (
        1  # how much longer they take than most rules, as `work_cost.rules_cost` knows them
    )


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

"""Enumerations of fields: they are told to clients, so they must hold what the server itself writes and takes."""

from collections.abc import Sequence

import pytest
from msgspec import UNSET

from kubelite.api.kinds import enums
from kubelite.api.kinds.model import Note
from kubelite.api.machinery.schema import Schema, compile_struct
from kubelite.api.registry.builtin import RESOURCES
from kubelite.api.registry.rules import containers, networking, placement, pods


def fields() -> dict[str, Schema]:
    """Return every field of every served type by type and name."""
    found: dict[str, Schema] = {}
    waiting = [compile_struct(row.type) for row in RESOURCES if row.type is not None]
    seen = set()
    while waiting:
        schema = waiting.pop()
        if schema.definition and schema.definition in seen:
            continue
        seen.add(schema.definition)
        for name, field in schema.fields.items():
            found[f"{schema.definition}.{name}"] = field
            waiting.append(field)
        if schema.items is not None:
            waiting.append(schema.items)
    return found


FIELDS = fields()


def test_defaults_are_among_the_values() -> None:
    for name, field in FIELDS.items():
        if field.enum and field.default is not UNSET:
            assert field.fresh_default() in field.enum, name


def test_about_a_hundred_fields_are_enumerations() -> None:
    lists = [field.items for field in FIELDS.values() if field.items is not None]
    found = [field for field in (*FIELDS.values(), *lists) if field.enum]
    assert len(found) > 80
    assert all(list(field.enum) == sorted(set(field.enum)) for field in found)


@pytest.mark.parametrize(
    ("note", "taken"),
    [
        (enums.RESTART_POLICIES, pods.RESTART_POLICIES),
        (enums.DNS_POLICIES, pods._DNS_POLICIES),
        (enums.PREEMPTION_POLICIES, pods._PREEMPTION),
        (enums.PROTOCOLS, networking._PROTOCOLS),
        (enums.TAINT_EFFECTS, placement.TAINT_EFFECTS),
        (enums.TERMINATION_MESSAGE_POLICIES, containers._MESSAGE),
    ],
)
def test_rules_with_an_order_of_their_own_take_what_is_told(
    note: Note, taken: Sequence[str]
) -> None:
    assert list(note.enum) == sorted(taken)


def test_signals_are_those_of_linux() -> None:
    assert len(enums.SIGNALS.enum) == 65
    assert {"SIGTERM", "SIGRTMIN+15", "SIGRTMAX-14"} <= set(enums.SIGNALS.enum)

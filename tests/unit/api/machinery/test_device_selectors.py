"""Selectors of devices: what they see, which devices they pick, and what they cost."""

from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.resource import Device
from kubelite.api.machinery.device_selectors import SelectionFailed, compiled, matches, seen
from kubelite.cel.environment import Program
from kubelite.limits import SELECTOR_COST

DRIVER = "gpu.x.io"
OWN = f'device.attributes["{DRIVER}"]'
ROOM = f'device.capacity["{DRIVER}"]'


def device(**fields: Any) -> Device:
    return msgspec.convert({"name": "d", **fields}, Device)


def program(expression: str) -> Program:
    found = compiled(expression)
    assert found.program is not None, found.error
    return found.program


RICH = device(
    attributes={
        "fast": {"bool": True},
        "count": {"int": 2},
        "model": {"string": "asymmetric_a1"},
        "version": {"version": "1.2.3"},
        "other.io/slot": {"int": 7},
    },
    capacity={"memory": {"value": "1Mi"}},
    allowMultipleAllocations=True,
)


@pytest.mark.parametrize(
    ("expression", "is_match", "estimate"),
    [
        ("true", True, 0),
        ("false", False, 0),
        ('device.driver == ""', False, 2),
        (f'device.driver == "{DRIVER}"', True, 3),
        ("device.allowMultipleAllocations == true", True, 3),
        (f"{OWN}.fast", True, 4),
        (f'{OWN}["fast"]', True, 4),
        ('device.attributes["other.io"].slot == 7', True, 5),
        (f"{OWN}.count > 2", False, 5),
        (f'{OWN}.version.isGreaterThan(semver("0.0.1"))', True, 6),
        (f'{OWN}.version.isGreaterThan(semver("v1.2.3", true))', False, 6),
        (f'{ROOM}.memory.isGreaterThan(quantity("1Ki"))', True, 6),
        (f'"memory" in {ROOM} && {ROOM}.memory.isGreaterThan(quantity("2Mi"))', False, 10),
        (f"cel.bind(gpu, {OWN}, gpu.fast && gpu.count == 2)", True, 18),
        (f'"{DRIVER}" in device.attributes', True, 3),
        ('"none.io" in device.attributes', False, 3),
        ("has(device.attributes.none)", True, 2),
        ('device.attributes["none.io"] == {}', True, 33),
        ('!("a" in device.attributes["none.io"]) || device.attributes["none.io"].a', True, 9),
        ('device.attributes.exists_one(x, x == "other.io")', True, 132),
        (f'{OWN}.exists_one(x, x == "model")', True, 133),
        (f'{ROOM}.exists_one(x, x == "memory")', True, 133),
        (f'{OWN}.model.split("_").size() >= 2', True, 19),
        (f'{OWN}.model.matches("[^a]?sym")', True, 18),
        ("device.attributes.size() == 2", True, 4),
    ],
)  # fmt: skip
def test_selecting(expression: str, is_match: bool, estimate: int) -> None:
    told = seen(DRIVER, RICH)
    assert matches(compiled(expression), told) is is_match
    assert program(expression).cost.max == estimate
    actual = program(expression).evaluate(told).cost
    assert actual <= estimate


def test_what_a_device_does_not_say_has_defaults() -> None:
    told = seen(DRIVER, device())
    assert matches(compiled("device.allowMultipleAllocations == false"), told)
    assert matches(compiled("device.attributes == {} && device.capacity == {}"), told)


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("1", "must evaluate to bool or the unknown type, not int"),
        ("device", "must evaluate to bool or the unknown type, not kubernetes.DRADevice"),
        (OWN, "must evaluate to bool or the unknown type, not map(string, any)"),
        ('cel.bind("x", 1, true)',
         ("compilation failed: ERROR: <input>:1:10: cel.bind() variable names must be simple identifiers\n"
         ' | cel.bind("x", 1, true)\n | .........^')),
        ("device.name == ''",
         "compilation failed: ERROR: <input>:1:7: undefined field 'name'\n | device.name == ''\n | ......^"),
        (f"{OWN}.a.includes(1)",
         ("compilation failed: ERROR: <input>:1:41: undeclared reference to 'includes' (in container '')\n"
         f" | {OWN}.a.includes(1)\n | ........................................^")),
    ],
)  # fmt: skip
def test_what_does_not_compile(expression: str, error: str) -> None:
    assert compiled(expression).error == error
    with pytest.raises(SelectionFailed) as raised:
        matches(compiled(expression), seen(DRIVER, RICH))
    assert str(raised.value) == error


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ('device.attributes["none.io"].a', "no such key: a"),
        (f"{ROOM}.none.isGreaterThan(quantity('1'))", "no such key: none"),
        (f"{OWN}.count", "CEL result of type int could not be converted to bool"),
        (f"{OWN}.model > 1", "no such overload"),
    ],
)
def test_what_fails_for_a_device(expression: str, error: str) -> None:
    with pytest.raises(SelectionFailed) as raised:
        matches(compiled(expression), seen(DRIVER, RICH))
    assert str(raised.value) == error


@pytest.mark.parametrize("value", [{}, {"strings": ["a", "b"]}])
def test_attributes_without_a_single_value_cannot_be_seen(value: dict[str, Any]) -> None:
    with pytest.raises(SelectionFailed, match="attribute a: unsupported attribute value"):
        seen(DRIVER, device(attributes={"a": value}))


def test_a_version_that_is_none_cannot_be_seen() -> None:
    with pytest.raises(SelectionFailed, match="attribute v: parse semantic version: "):
        seen(DRIVER, device(attributes={"v": {"version": "one"}}))


def test_an_expensive_selector_is_broken_off() -> None:
    numbers = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"
    loops = "".join(f"{numbers}.all({name}, " for name in ("a", "b", "c", "d", "e", "f", "g"))
    expensive = compiled(f"{loops}int('1'.find('[0-9]*')) < 100)))))))")
    assert expensive.cost == 85_555_551
    before = SELECTOR_COST.times_reached
    with pytest.raises(SelectionFailed, match="actual cost limit exceeded"):
        matches(expensive, seen(DRIVER, RICH))
    assert SELECTOR_COST.times_reached == before + 1


def test_programs_are_shared_by_their_text() -> None:
    assert program(f"{OWN}.fast") is program(f"{OWN}.fast")


def test_evaluating_changes_nothing() -> None:
    told = seen(DRIVER, RICH)
    matches(compiled('device.attributes["none.io"] == {}'), told)
    assert set(told["device"]["attributes"]) == {DRIVER, "other.io"}

"""Expressions that pick devices, of device classes and resource claims, as Kubernetes 1.36 has them.

They see one variable, `device`: its driver, whether it may be allocated more than once, its attributes and its
capacities, each in a map by domain and name. A name without a domain belongs to the driver's. Import it where an
expression exists, since it brings in the whole of `kubelite.cel`.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from kubelite.api.kinds.resource import Device, DeviceAttribute
from kubelite.cel.declarations import Field, Range, StructType
from kubelite.cel.environment import Environment, Program
from kubelite.cel.failures import CompileFailed, ProgramFailed
from kubelite.cel.frame import CostExceeded
from kubelite.cel.kubernetes import LIBRARIES
from kubelite.cel.libraries import bindings, quantity, semver
from kubelite.cel.types import ANY, BOOL, STRING, Kind, Type, map_of, struct
from kubelite.cel.values import EvaluationFailed, Rows, type_of
from kubelite.limits import SELECTOR_COST

DEVICE: Final = "device"
DEVICE_TYPE: Final = struct("kubernetes.DRADevice")


class Sized(Struct, frozen=True):
    """How large a part of a device can be: in characters or entries; `members` are those of any name."""

    most: int
    fields: Mapping[str, "Sized"] = {}
    key: "Sized | None" = None
    element: "Sized | None" = None
    members: "Sized | None" = None


_NAME: Final = Sized(32)
_DOMAIN: Final = Sized(63)
_ATTRIBUTE: Final = Sized(64)
_ROWS: Final = 32  # attributes and capacities of a device
_DEVICE: Final = Sized(
    0,
    {
        "driver": Sized(63),
        "allowMultipleAllocations": Sized(1),
        "attributes": Sized(
            _ROWS,
            key=_DOMAIN,
            element=Sized(_ROWS, key=_NAME, element=_ATTRIBUTE, members=_ATTRIBUTE),
        ),
        "capacity": Sized(_ROWS, key=_DOMAIN, element=Sized(_ROWS, key=_NAME, element=Sized(0))),
    },
)


def _size(path: tuple[str, ...], _: Type) -> Range | None:
    """Return the size of what a path from the variable leads to."""
    if not path or path[0] != DEVICE:
        return None
    part: Sized | None = _DEVICE
    for step in path[1:]:
        if part is None:
            return None
        match step:
            case "@items" | "@values":
                part = part.element
            case "@keys":
                part = part.key
            case _:
                part = part.fields.get(step, part.members)
    return None if part is None else Range(0, part.most)


_ENVIRONMENT: Final = Environment(
    (*LIBRARIES, bindings.LIBRARY),
    variables={DEVICE: DEVICE_TYPE},
    structs={
        DEVICE_TYPE.name: StructType(
            {
                "driver": Field(STRING),
                "allowMultipleAllocations": Field(BOOL),
                "attributes": Field(map_of(STRING, map_of(STRING, ANY))),
                "capacity": Field(map_of(STRING, map_of(STRING, quantity.QUANTITY_TYPE))),
            }
        )
    },
    sizes=_size,
)


class Selector(Struct, frozen=True, eq=False):
    """A compiled selector, or why it has no program. Compared by identity."""

    text: str
    program: Program | None = None
    error: str = ""
    is_internal: bool = False  # the error is not the author's

    @property
    def cost(self) -> int:
        """Return what an evaluation costs at most, as estimated."""
        return 0 if self.program is None else self.program.cost.max


def compiled(text: str) -> Selector:
    """Compile a selector; errors are worded as Kubernetes words them. Programs are shared by their text."""
    try:
        program = _ENVIRONMENT.compile(text)
    except CompileFailed as error:
        return Selector(text, error=f"compilation failed: {error}")
    except ProgramFailed as error:
        return Selector(text, error=f"program instantiation failed: {error}", is_internal=True)
    # An attribute may be a bool, and its type is known only from the device.
    if program.type.is_same(BOOL) or program.type.kind is Kind.ANY:
        return Selector(text, program)
    return Selector(text, error=f"must evaluate to bool or the unknown type, not {program.type}")


class SelectionFailed(Exception):
    """A selector has no answer for a device; the text is worded as Kubernetes words it."""


def seen(driver: str, device: Device) -> Mapping[str, Any]:
    """Return a device as selectors see it; make it once for all of them.

    Raises:
        SelectionFailed: An attribute has no value of a kind that selectors know.
    """
    attributes, capacity = Rows(), Rows()
    for name, attribute in device.attributes.items():
        domain, own = _split(name, driver)
        attributes.setdefault(domain, {})[own] = _value(name, attribute)
    for name, amount in device.capacity.items():
        domain, own = _split(name, driver)
        capacity.setdefault(domain, {})[own] = quantity.parse(str(amount.value))
    return {
        DEVICE: {
            "driver": driver,
            "allowMultipleAllocations": device.allowMultipleAllocations or False,
            "attributes": attributes,
            "capacity": capacity,
        }
    }


def _split(name: str, driver: str) -> tuple[str, str]:
    """Return domain and name of a qualified name."""
    domain, slash, own = name.partition("/")
    return (domain, own) if slash else (driver, name)


def _value(name: str, attribute: DeviceAttribute) -> Any:
    for value in (attribute.int, attribute.bool, attribute.string):
        if value is not None:
            return value
    if attribute.version is None:
        raise SelectionFailed(f"attribute {name}: unsupported attribute value")
    try:
        return semver.parse(attribute.version)
    except EvaluationFailed as error:
        raise SelectionFailed(f"attribute {name}: parse semantic version: {error}") from error


def matches(selector: Selector, device: Mapping[str, Any]) -> bool:
    """Return whether a selector picks a device, as `seen` returns it; both are only read.

    Raises:
        SelectionFailed: The expression does not compile, fails, costs too much, or results in no bool.
    """
    if selector.program is None:
        raise SelectionFailed(selector.error)
    try:
        value = selector.program.evaluate(device, SELECTOR_COST.value).value
    except CostExceeded as error:
        SELECTOR_COST.reached()
        raise SelectionFailed(str(error)) from error
    if isinstance(value, EvaluationFailed):
        raise SelectionFailed(value.text)
    if not isinstance(value, bool):
        raise SelectionFailed(
            f"CEL result of type {type_of(value).name} could not be converted to bool"
        )
    return value

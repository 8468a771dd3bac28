"""What a library declares: functions with overloads, types, macros, and what calls cost.

Costs are those of Kubernetes, in two forms: an estimate from the sizes that the checker knows, made when an expression
is written, and the actual cost of a call. A library's module ends in one `Library`; the environment takes any number.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct

from kubelite.cel.types import Type
from kubelite.cel.values import Value

COST_MAX: Final = (1 << 64) - 1  # a cost or size that has no bound
STRING_TRAVERSAL: Final = 0.1  # cost per character of a text that is walked through
REGEX_LENGTH: Final = 0.25  # cost per character of a regular expression
LIST_CREATION: Final = 10
MAP_CREATION: Final = 30
STRUCT_CREATION: Final = 40


class Range(Struct, frozen=True):
    """The least and the most of a size or cost, both at most `COST_MAX`, at which sums and products stop."""

    min: int
    max: int

    def __add__(self, other: "Range") -> "Range":
        return Range(min(self.min + other.min, COST_MAX), min(self.max + other.max, COST_MAX))

    def __mul__(self, other: "Range") -> "Range":
        return Range(min(self.min * other.min, COST_MAX), min(self.max * other.max, COST_MAX))

    def scaled(self, factor: float) -> "Range":
        """Return the range times a cost per unit, rounded up."""
        return Range(_scaled(self.min, factor), _scaled(self.max, factor))

    def union(self, other: "Range") -> "Range":
        """Return the range that covers both."""
        return Range(min(self.min, other.min), max(self.max, other.max))


def _scaled(size: int, factor: float) -> int:
    real = float(size)
    if real > 0 and factor > 0 and real > COST_MAX / factor:
        return COST_MAX
    return min(math.ceil(real * factor), COST_MAX)


UNKNOWN: Final = Range(0, COST_MAX)
ONE: Final = Range(1, 1)


def traversal_cost(size: int) -> int:
    """Return the cost of walking through a text of `size` characters."""
    return math.ceil(size * STRING_TRAVERSAL)


class Argument(Protocol):
    """What is known of an argument of a call before it is evaluated; of a member function the receiver comes first."""

    @property
    def type(self) -> Type:
        """Return its type."""
        ...

    @property
    def literal(self) -> Value | None:
        """Return the value of a literal; None of anything else (and of the literal null)."""
        ...

    @property
    def known_size(self) -> Range | None:
        """Return its size if anything is known of it."""
        ...

    @property
    def size(self) -> Range:
        """Return its size, `UNKNOWN` if nothing is known of it."""
        ...

    @property
    def element(self) -> "Argument | None":
        """Return an element of a list (of a map its key); None if its type has no parameters."""
        ...


class CallEstimate(Struct, frozen=True):
    """The cost of a call without its arguments', and the size of its result where it has one."""

    cost: Range
    size: Range | None = None


Estimate = Callable[[Sequence[Argument]], CallEstimate | None]  # None: as if there were no estimate
ActualCost = Callable[[Sequence[Value], Value], int]  # of the arguments and the result
ActualWork = Callable[[Sequence[Value]], int]  # of the arguments
Specialise = Callable[[Mapping[int, Value]], Callable[..., Value] | None]


class Overload(Struct, frozen=True):
    """One signature of a function.

    `arguments` begin with the receiver of a member function. `call` takes the arguments as positional values of these
    types and raises EvaluationFailed. Without `estimate` and `cost` a call costs 1. `specialise` is asked once, when an
    expression is compiled, with the values of the arguments that are literals, by position; it returns a call with the
    same parameters that uses them (a compiled regular expression, say) or None, and raises EvaluationFailed if no such
    call can succeed, which refuses the expression. With `is_charged_if_known` the cost counts only where this overload
    is known when an expression is compiled; a call chosen by its values costs 1 then. `work` counts what the cost of a
    call leaves out, such as compiling a pattern, in elements of `EXPRESSION_WORK`; it is asked before the call.
    """

    id: str
    arguments: tuple[Type, ...]
    result: Type
    call: Callable[..., Any]
    is_member: bool = False
    estimate: Estimate | None = None
    cost: ActualCost | None = None
    specialise: Specialise | None = None
    is_charged_if_known: bool = False
    work: ActualWork | None = None


Validate = Callable[
    [Any], "Iterator[tuple[Any, str]]"
]  # of the call (kubelite.cel.ast.Call): node at fault, message


class Function(Struct, frozen=True):
    """A function, and all its overloads; those of several libraries add up.

    `validate` looks at each call in a checked expression and yields what is wrong with its literals. Literals of lists
    and maps inside a call's arguments may mix types if `allows_mixed_literals`.
    """

    name: str
    overloads: tuple[Overload, ...]
    validate: Validate | None = None
    allows_mixed_literals: bool = False


class Field(Struct, frozen=True):
    """A field of an object type, or a variable.

    `key` is the name in the object itself ("" for the same as in expressions). `read` converts what lies there to a
    value of `type`, where JSON has none; None leaves it as it is.
    """

    type: Type
    key: str = ""
    read: Callable[[Any], Value] | None = None


class StructType(Struct, frozen=True):
    """An object type: its fields by their names in expressions; `make` builds a value of it, written out."""

    fields: Mapping[str, Field]
    make: Callable[[dict[str, Value]], Value] | None = None


class Library(Struct, frozen=True):
    """A set of functions and types.

    `types` are the names that expressions may use as types. `equality` gives estimates of `==` by the name of the type
    of both sides, where it is not as for other values.
    """

    name: str
    functions: tuple[Function, ...] = ()
    types: tuple[Type, ...] = ()
    macros: tuple[Any, ...] = ()  # of kubelite.cel.macros.Macro
    equality: Mapping[str, Estimate] = {}

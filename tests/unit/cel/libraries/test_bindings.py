"""Names for values: ``cel.bind``."""

import pytest

from kubelite.cel.environment import Environment
from kubelite.cel.failures import CompileFailed
from kubelite.cel.kubernetes import LIBRARIES
from kubelite.cel.libraries import bindings

ENVIRONMENT = Environment((*LIBRARIES, bindings.LIBRARY))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("cel.bind(a, 1 + 1, a * a)", 4),
        ("cel.bind(a, [1, 2], cel.bind(b, a.map(x, x + 1), a + b))", [1, 2, 2, 3]),
        ("[1, 2].map(x, cel.bind(y, x * 2, y + x))", [3, 6]),
        ("cel.bind(a, 'x', [1].all(a, a == 1) && a == 'x')", True),
    ],
)
def test_a_name_stands_for_a_value(text: str, value: object) -> None:
    assert ENVIRONMENT.compile(text).evaluate({}).value == value


def test_a_name_ends_with_its_expression() -> None:
    with pytest.raises(CompileFailed, match="undeclared reference to 'a'"):
        ENVIRONMENT.compile("cel.bind(a, 1, a) + a")


def test_only_names_can_be_bound() -> None:
    with pytest.raises(CompileFailed, match=r"cel.bind\(\) variable names must be simple ident"):
        ENVIRONMENT.compile("cel.bind(a.b, 1, true)")


def test_bind_of_anything_else_is_no_macro() -> None:
    with pytest.raises(CompileFailed, match="undeclared reference to 'bind'"):
        ENVIRONMENT.compile("dyn(1).bind(a, 1, true)")

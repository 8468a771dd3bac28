"""Types of expressions, and the words for what does not go together."""

import pytest

from kubelite.cel import optionals, types
from kubelite.cel.declarations import Field, StructType
from kubelite.cel.environment import Environment
from kubelite.cel.failures import CompileFailed
from kubelite.cel.types import DYN, INT, STRING, list_of, map_of, optional_of

NO_RANGE = "cannot be range of a comprehension (must be list, map, or dynamic)"
ENVIRONMENT = Environment(
    (optionals.LIBRARY, optionals.TWO_VARIABLES),
    variables={
        "i": INT,
        "s": STRING,
        "d": DYN,
        "l": list_of(INT),
        "m": map_of(STRING, INT),
        "o": optional_of(list_of(INT)),
        "w": types.nullable(INT),
        "self": types.struct("Self"),
        "a.b.c": INT,
    },
    structs={"Self": StructType({"name": Field(STRING), "ports": Field(list_of(types.struct("Port")))}),
             "Port": StructType({"port": Field(INT)})},
)  # fmt: skip


def type_of(text: str) -> str:
    return str(ENVIRONMENT.compile(text).type)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2", "int"),
        ("i < 2.5", "bool"),
        ("d + 1", "int"),
        ("d == 'a'", "bool"),
        ("[]", "list(dyn)"),
        ("[1, 2].map(x, string(x))", "list(string)"),
        ("{}", "map(dyn, dyn)"),
        ("{'a': [1]}", "map(string, list(int))"),
        ("l[0]", "int"),
        ("m.a", "int"),
        ("m.all(k, v, k == 'a' && v > 0)", "bool"),
        ("m.transformList(k, v, k)", "list(string)"),
        ("m.transformMap(k, v, v > 1)", "map(string, bool)"),
        ("true ? optional.of(dyn(1)) : optional.of(1)", "optional_type(dyn)"),
        ("self.ports.filter(p, p.port > 1)", "list(Port)"),
        ("self.?name", "optional_type(string)"),
        ("o[0]", "optional_type(int)"),
        ("o[?0].orValue(1)", "int"),
        ("optional.none()", "optional_type(dyn)"),
        ("type(1)", "type(int)"),
        ("a.b.c", "int"),
        ("w + 1", "int"),
        ("w == null", "bool"),
        ("dyn(l).foo.bar", "dyn"),
        ("[[], [1]]", "list(list(int))"),
    ],
)
def test_types_are_inferred(text: str, expected: str) -> None:
    assert type_of(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "1:1: undeclared reference to 'x' (in container '')"),
        ("f(1)", "1:2: undeclared reference to 'f' (in container '')"),
        ("i.f()", "1:4: undeclared reference to 'f' (in container '')"),
        ("1 + 'a'", "1:3: found no matching overload for '_+_' applied to '(int, string)'"),
        ("s.startsWith(1)", "1:13: found no matching overload for 'startsWith' applied to 'string.(int)'"),
        ("size(1)", "1:5: found no matching overload for 'size' applied to '(int)'"),
        ("i && true", "1:1: expected type 'bool' but found 'int'"),
        ("i.foo", "1:2: type 'int' does not support field selection"),
        ("self.foo", "1:5: undefined field 'foo'"),
        ("1.all(x, true)", f"1:1: expression of type 'int' {NO_RANGE}"),
        ("l.all(x, x)", "1:10: expected type 'bool' but found 'int'"),
        ("[1, 'a']", "1:5: expected type 'int' but found 'string'"),
        ("{1: 1, 'a': 2}", "1:8: expected type 'int' but found 'string'"),
        ("[?1]", "1:3: expected type 'optional_type(int)' but found 'int'"),
        ("duration('x')", "1:10: invalid duration argument"),
        ("timestamp('x')", "1:11: invalid timestamp argument"),
        ("s.matches('(')", "1:11: invalid matches argument"),
        ("Foo{}", "1:4: undeclared reference to 'Foo' (in container '')"),
        ("int{}", "1:4: 'int' is not a message type"),
        ("i{}", "1:2: 'int' is not a type"),
        ("Self{name: 1}", "1:10: expected type of field 'name' is 'string' but provided type is 'int'"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(text: str, message: str) -> None:
    with pytest.raises(CompileFailed) as refused:
        ENVIRONMENT.compile(text)
    assert str(refused.value).startswith(f"ERROR: <input>:{message}\n")


def test_all_issues_are_found() -> None:
    with pytest.raises(CompileFailed) as refused:
        ENVIRONMENT.compile("x + y > i.foo")
    assert [issue.position for issue in refused.value.issues] == [0, 4, 9]


@pytest.mark.parametrize(
    ("container", "expected"), [("x.y", "uint"), ("x", "bool"), ("", "string")]
)
def test_a_container_gives_short_names_a_meaning(container: str, expected: str) -> None:
    environment = Environment(
        variables={"x.y.v": types.UINT, "x.v": types.BOOL, "v": STRING}, container=container
    )
    assert str(environment.compile("v").type) == expected
    assert str(environment.compile(".v").type) == "string"


def test_variables_of_loops_hide_others_and_end_with_the_loop() -> None:
    assert type_of("[1u].map(s, s)") == "list(uint)"
    with pytest.raises(CompileFailed):
        ENVIRONMENT.compile("[1].all(y, true) && y == 1")

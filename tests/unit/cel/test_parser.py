"""Sentences of the grammar, and the words for what is none."""

import pytest

from kubelite.cel import macros, operators
from kubelite.cel.ast import (
    Call,
    Comprehension,
    CreateList,
    CreateMap,
    CreateStruct,
    Identifier,
    Literal,
    Node,
    Select,
)
from kubelite.cel.failures import CompileFailed
from kubelite.cel.parser import macro_table, parse
from kubelite.limits import EXPRESSION_LENGTH, EXPRESSION_NODES

MACROS = macro_table((*macros.STANDARD, *macros.OPTIONAL, *macros.TWO_VARIABLES))


def shown(node: Node | str) -> str:
    """Return a tree in prefix notation."""
    match node:
        case str():
            return node
        case Literal():
            return repr(node.value)
        case Identifier():
            return node.name
        case Select():
            return f"{shown(node.operand)}.{node.field}{'?' if node.is_test else ''}"
        case Call():
            target = [] if node.target is None else [node.target]
            parts = " ".join(map(shown, [*target, *node.arguments]))
            return f"({node.function} {parts})"
        case CreateList():
            marks = ("?" if index in node.optional else "" for index in range(len(node.elements)))
            pairs = zip(marks, node.elements, strict=True)
            return f"[{' '.join(mark + shown(each) for mark, each in pairs)}]"
        case CreateMap() | CreateStruct():
            name = node.name if isinstance(node, CreateStruct) else ""
            entries = (
                f"{'?' if entry.is_optional else ''}{shown(entry.key)}:{shown(entry.value)}"
                for entry in node.entries
            )
            return f"{name}{{{' '.join(entries)}}}"
        case Comprehension():
            return f"<{shown(node.range)} {node.first},{node.second} {shown(node.step)}>"
        case _:
            raise AssertionError(node)


def tree(text: str) -> str:
    return shown(parse(text, MACROS))


def refusal(text: str) -> str:
    with pytest.raises(CompileFailed) as refused:
        parse(text, MACROS)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", "(_+_ 1 (_*_ 2 3))"),
        ("(1 + 2) * 3", "(_*_ (_+_ 1 2) 3)"),
        ("1 - 2 - 3", "(_-_ (_-_ 1 2) 3)"),
        ("a < b == c", "(_==_ (_<_ a b) c)"),
        ("a || b && c", "(_||_ a (_&&_ b c))"),
        ("a ? b : c ? d : e", "(_?_:_ a b (_?_:_ c d e))"),
        ("-1", "-1"),
        ("--1", "1"),
        ("---1", "(-_ 1)"),
        ("-x.y", "(-_ x.y)"),
        ("!-1", "(!_ -1)"),
        ("!!x", "x"),
        ("-1.foo()", "(foo -1)"),
        ("a.b.c(d)[0]", "(_[_] (c a.b d) 0)"),
        ("a.?b[?0]", "(_[?_] (_?._ a 'b') 0)"),
        (".a.b", ".a.b"),
        ("[1, ?b, 3,]", "[1 ?b 3]"),
        ("{1: a, ?'b': c,}", "{1:a ?'b':c}"),
        ("[,]", "[]"),
        ("a.B{c: 1, ?d: 2}", "a.B{c:1 ?d:2}"),
        ("a in b", "(@in a b)"),
        ("0x1F + 10u", "(_+_ 31 10u)"),
        ("1.5e3 == .5", "(_==_ 1500.0 0.5)"),
        (r"'\u00e9\n' + r'\n'", r"(_+_ 'é\n' '\\n')"),
        ("'''a\n\"b\"'''", "'a\\n\"b\"'"),
        ("b'\\377' == b'é'", r"(_==_ b'\xff' b'\xc3\xa9')"),
        ("x // the rest is no code\n + 1", "(_+_ x 1)"),
    ],
)
def test_precedence_and_literals(text: str, expected: str) -> None:
    assert tree(text) == expected


def test_chains_of_and_become_balanced_trees() -> None:
    assert tree("a && b && c && d") == "(_&&_ (_&&_ a b) (_&&_ c d))"
    assert tree("a || b || c") == "(_||_ (_||_ a b) c)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("has(a.b)", "a.b?"),
        ("l.all(x, p)", "<l x, (_&&_ @result p)>"),
        ("l.exists(x, p)", "<l x, (_||_ @result p)>"),
        ("l.exists_one(x, p)", "<l x, (_?_:_ p (_+_ @result 1) @result)>"),
        ("l.map(x, f)", "<l x, (_+_ @result [f])>"),
        ("l.map(x, p, f)", "<l x, (_?_:_ p (_+_ @result [f]) @result)>"),
        ("l.filter(x, p)", "<l x, (_?_:_ p (_+_ @result [x]) @result)>"),
        ("m.all(k, v, p)", "<m k,v (_&&_ @result p)>"),
        ("m.transformMap(k, v, f)", "<m k,v (cel.@mapInsert @result k f)>"),
        ("m.transformMapEntry(k, v, e)", "<m k,v (cel.@mapInsert @result e)>"),
        (
            "o.optMap(x, f)",
            "(_?_:_ (hasValue o) (optional.of <[] #unused, x>) (optional.none ))",
        ),
        ("l.all(x)", "(all l x)"),
    ],
)
def test_macros_become_comprehensions(text: str, expected: str) -> None:
    assert tree(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9223372036854775808", "1:1: invalid int literal"),
        ("18446744073709551616u", "1:1: invalid uint literal"),
        ("1e999", "1:1: invalid double literal"),
        ("x + while", "1:5: reserved identifier: while"),
        ("l.all(1, true)", "1:7: argument must be a simple name"),
        ("l.map(a.b, 1)", "1:8: argument is not an identifier"),
        ("l.all(__result__, 1)", "1:7: iteration variable overwrites accumulator variable"),
        ("l.all(i, i, true)", "1:10: duplicate variable name: i"),
        ("has(x)", "1:5: invalid argument to has() macro"),
        ("a.`b-c`", "1:3: unsupported syntax: '`'"),
        (r"'\ud800'", "1:1: invalid unicode code point"),
        (r"b'\u0041'", "1:1: unable to unescape string"),
    ],
)
def test_what_parses_and_is_refused_nevertheless(text: str, message: str) -> None:
    assert refusal(text).startswith(f"ERROR: <input>:{message}\n")


def test_all_issues_are_listed_in_the_order_of_their_positions() -> None:
    assert refusal("while +\n9223372036854775808") == (
        "ERROR: <input>:1:1: reserved identifier: while\n | while +\n | ^\n"
        "ERROR: <input>:2:1: invalid int literal\n | 9223372036854775808\n | ^"
    )


@pytest.mark.parametrize(
    "text",
    ["(" * 250 + "1" + ")" * 250, "[" * 251 + "]" * 251, "true ? 1 : " * 250 + "1", "(" * 5000],
)
def test_rules_within_each_other_have_a_limit(text: str) -> None:
    assert refusal(text) == "ERROR: <input>:-1:0: expression recursion limit exceeded: 250"


@pytest.mark.parametrize("text", ["1" + " + 1" * 251, "a" + ".b" * 251, "a" + "[0]" * 251])
def test_chains_have_a_limit_of_their_own(text: str) -> None:
    assert refusal(text) == "ERROR: <input>:-1:0: max recursion depth exceeded"


@pytest.mark.parametrize(
    "text", ["(" * 249 + "1" + ")" * 249, "[" * 249 + "]" * 249, "1" + " + 1" * 250]
)
def test_up_to_the_limits_deep_expressions_parse(text: str) -> None:
    assert tree(text)


def test_a_long_expression_is_refused_unread() -> None:
    before = EXPRESSION_LENGTH.times_reached
    assert refusal("1" * 100_001) == (
        "ERROR: <input>:-1:0: expression code point size exceeds limit: size: 100001, limit 100000"
    )
    assert EXPRESSION_LENGTH.times_reached == before + 1


def test_macros_that_copy_what_macros_copied_stop_at_a_bound() -> None:
    before = EXPRESSION_NODES.times_reached
    text = "a" + ".optMap(x, x)" * 60
    assert "expression has too many nodes" in refusal(text)
    assert EXPRESSION_NODES.times_reached > before


def test_operators_are_named_as_functions() -> None:
    parsed = parse("a in [1]", MACROS)
    assert isinstance(parsed, Call)
    assert parsed.function == operators.IN
    assert parsed.position == 2

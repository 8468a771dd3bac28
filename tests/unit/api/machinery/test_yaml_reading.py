from typing import Any

import pytest

from kubelite.api.errors import BadRequest, RequestEntityTooLarge
from kubelite.api.machinery.json_reading import expecting
from kubelite.api.machinery.yaml_reading import read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12:30:45", "12:30:45"),
        ("2001-01-01", "2001-01-01"),
        ("1e3", 1000),
        ("2.0", 2),
        ("1e30", 1e30),
        (".5", 0.5),
        ("0644", 420),
        ("0o644", 420),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("-5", -5),
        ("089", 89),
        ("1.5", 1.5),
        ("1.2.3", "1.2.3"),
        ("+", "+"),
        ("yes", True),
        ("off", False),
        ("True", True),
        ("~", None),
        ("", None),
        ("'12'", "12"),
        ('"yes"', "yes"),
        ("!!str 12", "12"),
        ("|\n  x\n", "x\n"),
        ("8Mi", "8Mi"),
        ("[a, 1]", ["a", 1]),
    ],
)
def test_scalars_are_read_as_go_reads_them(text: str, value: Any) -> None:
    read = read_yaml(f"a: {text}".encode()).value["a"]
    assert read == value
    assert type(read) is type(value)


def test_keys_become_texts() -> None:
    assert read_yaml(b"1: a\ntrue: b\n~: c\n").value == {"1": "a", "true": "b", "null": "c"}


def test_keys_written_twice_are_found_with_their_line() -> None:
    reading = read_yaml(b"a: 1\nb: {c: 1, c: 2}\na: 3\n", find_duplicates=True)
    assert reading.value == {"a": 3, "b": {"c": 2}}
    assert reading.duplicates == (
        'line 2: key "c" already set in map',
        'line 3: key "a" already set in map',
    )


def test_an_alias_is_a_copy() -> None:
    value = read_yaml(b"a: &x {k: 1}\nb: *x\nc: {<<: *x, d: 2}\n").value
    assert value == {"a": {"k": 1}, "b": {"k": 1}, "c": {"k": 1, "d": 2}}
    assert value["a"] is not value["b"]


def test_own_keys_win_over_merged_ones() -> None:
    assert read_yaml(b"a: &x {k: 1, m: 1}\nb: {<<: [*x], k: 2}\n").value["b"] == {"m": 1, "k": 2}


def test_only_the_first_document_counts() -> None:
    assert read_yaml(b"---\na: 1\n---\nb: 2\n").value == {"a": 1}


BILLION = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (BILLION.encode(), "document contains excessive aliasing"),
        (b"a: &x [*x]", "anchor 'x' value contains itself"),
        (b"[" * 400 + b"]" * 400, "exceeded max depth"),
        (b"[" * 500_000, "exceeded max depth"),
        (b"- " * 500_000 + b"a", "exceeded max depth"),
        (b"a: [1, 2", "did not find expected ',' or ']'"),
        (b"a: b: c", "yaml: mapping values are not allowed in this context"),
        (b"c: d\na: b: c", "yaml: line 2: mapping values are not allowed in this context"),
        (b"a: [", "yaml: line 1: did not find expected node content"),
        (b"a: \xff", "yaml:"),
        (b"? [a]\n: b", "invalid map key"),
        (b"a: *nowhere", "unknown anchor 'nowhere' referenced"),
    ],
)
def test_bad_documents_are_refused(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_yaml(body, refuse=expecting("Pod"))
    assert message in refused.value.message
    assert "(must be of type Pod)" in refused.value.message


def test_aliases_are_charged_by_what_they_stand_for() -> None:
    text = b"a: &a " + b"x" * 900_000 + b"\n"
    with pytest.raises(BadRequest, match="document contains excessive aliasing"):
        read_yaml(text + b"b: [*a, *a, *a]\n")
    assert len(read_yaml(text + b"b: [*a]\n").value["b"][0]) == 900_000


@pytest.mark.parametrize(
    "body",
    [
        b"a: &a {? " + b"k" * 500_000 + b"\n  : 1}\nb: [" + b"*a, " * 9 + b"1]\n",
        b"a: &a [" + b"{}, " * 1000 + b"1]\nb: [" + b"*a, " * 1000 + b"1]\n",
        b"a: &a " + "ä".encode() * 500_000 + b"\nb: [" + b"*a, " * 3 + b"1]\n",
        b"a: &a {k: " + b"x" * 900_000 + b"}\nb: [" + b"{<<: *a}, " * 4 + b"1]\n",
    ],
)
def test_names_and_small_values_are_charged_too(body: bytes) -> None:
    with pytest.raises(BadRequest, match="document contains excessive aliasing"):
        read_yaml(body)


def test_a_document_of_many_small_values_is_refused() -> None:
    with pytest.raises(RequestEntityTooLarge):
        read_yaml(b"a: [" + b"{}," * 600_000 + b"1]")


def test_large_documents_without_aliases_are_read() -> None:
    text = "".join(f"  key-{index}: some value\n" for index in range(20_000))
    assert len(read_yaml(f"data:\n{text}".encode()).value["data"]) == 20_000
    block = "".join("    a line, and: another\n" for _ in range(60_000))
    assert len(read_yaml(f"data:\n  a: |\n{block}".encode()).value["data"]["a"]) > 1_000_000


def test_aliases_do_not_nest_deeper_than_anything_else() -> None:
    lines = [b"a0: &a0 " + b"[" * 200 + b"]" * 200]
    for index in range(1, 30):
        deep = b"[" * 200 + b"*a%d" % (index - 1) + b"]" * 200
        lines.append(b"a%d: &a%d " % (index, index) + deep)
    with pytest.raises(BadRequest, match="exceeded max depth"):
        read_yaml(b"\n".join(lines))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551616", 18446744073709551616),
        ("1" + "0" * 30, 1e30),
        ("9" * 5000, "9" * 5000),
        ("0x" + "f" * 16, 2**64 - 1),
        ("0x" + "f" * 5000, "0x" + "f" * 5000),
        ("0b" + "1" * 65, "0b" + "1" * 65),
        ("0x_", "0x_"),
        ("9" * 5000 + ".5", "9" * 5000 + ".5"),
    ],
)
def test_integers_beyond_gos_are_numbers_or_texts(text: str, value: Any) -> None:
    assert read_yaml(f"a: {text}\n? {text}\n: b".encode()).value["a"] == value

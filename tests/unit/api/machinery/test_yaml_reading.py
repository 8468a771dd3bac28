from typing import Any

import pytest

from kubelite.api.errors import BadRequest
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
        (b"a: b: c", "line 1: mapping values are not allowed in this context"),
        (b"a: \xff", "yaml:"),
        (b"? [a]\n: b", "invalid map key"),
        (b"a: *nowhere", "unknown anchor 'nowhere' referenced"),
    ],
)
def test_bad_documents_are_refused(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_yaml(body, kind="Pod")
    assert message in refused.value.message
    assert "(must be of type Pod)" in refused.value.message

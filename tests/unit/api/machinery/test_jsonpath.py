"""kubectl's JSONPath."""

from collections.abc import Callable
from typing import Any

import pytest
from fakes.steps import RATIO_MAX, growth, steps

from kubelite.api.machinery.jsonpath import compile_path, print_values

THING = {
    "metadata": {"name": "x", "annotations": {"a.b/c": "dotted"}},
    "spec": {"ports": [{"port": 80, "name": "http"}, {"port": 443}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other"}]},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".metadata.name", ["x"]),
        ("{.metadata.name}", ["x"]),
        ("$.metadata.name", ["x"]),
        (r".metadata.annotations.a\.b/c", ["dotted"]),
        (".metadata.annotations['a.b/c']", ["dotted"]),
        (".spec.ports[0].port", [80]),
        (".spec.ports[-1].port", [443]),
        (".spec.ports[*].port", [80, 443]),
        (".spec.ports[0:1].name", ["http"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type != 'Ready')].type", ["Other"]),
        (".spec.ports[?(@.port>100)].port", [443]),
        (".spec.ports[?(@.name)].port", [80]),
        ("..port", [80, 443]),
        (".absent.name", []),
        (".spec.ports[7]", []),
    ],
)
def test_paths(path: str, found: list[Any]) -> None:
    assert compile_path(path)(THING) == found


@pytest.mark.parametrize("path", [".a[", ".a[x]", ".a[?(@.b==c)]", ".a[::0]", "." * 5000])
def test_refusals(path: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        compile_path(path)


def test_values_are_printed() -> None:
    assert print_values(["a", 1, {"b": None}, None]) == 'a 1 {"b":null} <nil>'


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("[?(@" * 600 + ")]" * 600, "nested too deep"),
        ("[?(@.a==" + "[" * 3000 + ")]", "unterminated array"),
        (".a" + "..b" * 20, "recursive descents"),
        (".a[?(@.b=1)]", "invalid array index"),
        (".a[?(@.b==)]", "invalid array index"),
        (".a[?(@.b=='" + "[" * 1500 + ")]", "unterminated array"),
    ],
)
def test_paths_that_ask_too_much_are_refused(path: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_path(path)


def test_blanks_in_a_filter_are_read_once() -> None:
    def reading(size: int) -> Callable[[], Any]:
        texts = [".a[?(@" + " " * size + "x]", ".a[?(@.b ==" + " " * size + "]"]

        def work() -> None:
            for text in texts:
                with pytest.raises(ValueError, match="invalid array index"):
                    compile_path(text)

        return work

    assert growth(reading, 1900) < RATIO_MAX
    reading(4000)()  # of a backtracking search, minutes
    assert compile_path(f".ports[?( @{' ' * 4000}.port )].port")({"ports": [{"port": 1}]}) == [1]


def test_what_is_looked_at_is_bounded() -> None:
    deep: Any = [1] * 1000
    for _ in range(200):
        deep = {"a": deep, "b": {}}
    assert len(compile_path("..[0]")(deep)) == 1
    for path in ("..[*]..[*]..a", "..a..a..a", "..[*][*]..[*]..[*]"):
        assert steps(lambda path=path: compile_path(path)(deep)) < 2_000_000  # type: ignore[misc] # its default

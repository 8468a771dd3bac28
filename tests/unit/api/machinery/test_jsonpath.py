"""kubectl's JSONPath."""

from typing import Any

import pytest

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

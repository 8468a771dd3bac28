"""Sets of fields."""

from typing import Any

import pytest

from kubelite.api.kinds.apps import Deployment
from kubelite.api.machinery.field_sets import (
    KeyMissing,
    applied,
    created,
    cut,
    difference,
    find_error,
    in_order,
    intersection,
    paths,
    union,
    without,
)
from kubelite.api.machinery.schema import compile_struct

SCHEMA = compile_struct(Deployment)


def deployment(**container: Any) -> dict[str, Any]:
    """Make a small deployment."""
    return {
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
            "template": {"spec": {"containers": [{"name": "web", "resources": {}, **container}]}},
        },
    }


def test_what_a_creator_owns() -> None:
    ports = [{"containerPort": 80}]
    assert created(deployment(ports=ports), SCHEMA, held=True) == {
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
            "f:template": {
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"web"}': {
                            ".": {},
                            "f:name": {},
                            "f:ports": {
                                ".": {},
                                'k:{"containerPort":80,"protocol":"TCP"}': {
                                    ".": {},
                                    "f:containerPort": {},
                                },
                            },
                            "f:resources": {},
                        }
                    }
                }
            },
        },
    }


def test_what_an_applier_claims() -> None:
    config = {"metadata": {"labels": {"a": "b"}, "finalizers": ["x/y"]}, "spec": {"template": {}}}
    assert applied(config, SCHEMA) == {
        "f:metadata": {"f:labels": {"f:a": {}}, "f:finalizers": {'v:"x/y"': {}}},
        "f:spec": {"f:template": {}},
    }


def test_elements_without_keys_are_refused() -> None:
    config = deployment()
    config["spec"]["template"]["spec"]["containers"] = [{"image": "x"}]
    with pytest.raises(KeyMissing, match=r'omits all key fields \["name"\]'):
        applied(config, SCHEMA)
    config["spec"]["template"]["spec"]["containers"] = [{"name": "x"}, {"name": "x"}]
    with pytest.raises(KeyMissing, match='duplicate entries for key \\[name="x"\\]'):
        applied(config, SCHEMA)


def test_difference() -> None:
    old, new = deployment(image="1", tty=True), deployment(image="2", stdin=True)
    del new["metadata"]["labels"]
    found = difference(old, new, SCHEMA)
    at: dict[str, Any] = {"f:containers": {'k:{"name":"web"}': {"f:image": {}, "f:stdin": {}}}}
    assert found.changed == {"f:spec": {"f:template": {"f:spec": at}}}
    gone: dict[str, Any] = {"f:containers": {'k:{"name":"web"}': {"f:tty": {}}}}
    assert found.removed == {
        "f:metadata": {"f:labels": {}},
        "f:spec": {"f:template": {"f:spec": gone}},
    }


def test_algebra() -> None:
    left: dict[str, Any] = {"f:a": {}, "f:b": {".": {}, "f:c": {}}}
    right: dict[str, Any] = {"f:a": {}, "f:b": {"f:c": {}, "f:d": {}}}
    assert union(left, right) == {"f:a": {}, "f:b": {".": {}, "f:c": {}, "f:d": {}}}
    assert intersection(left, right) == {"f:a": {}, "f:b": {"f:c": {}}}
    assert without(left, right) == {"f:b": {}}
    assert without(right, left) == {"f:b": {"f:d": {}}}
    assert without(left, left) is None
    assert cut(left, {"f:b": {}}) == {"f:a": {}}
    assert cut(left, {"f:a": {}, "f:b": {}}) is None
    assert union(None, left) is left
    assert intersection(left, None) is None


def test_paths_are_printed() -> None:
    fields: dict[str, Any] = {
        "f:spec": {
            'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:name": {}},
            'v:"x"': {},
        }
    }
    assert list(paths(fields)) == [
        '.spec[containerPort=80,protocol="TCP"]',
        '.spec[containerPort=80,protocol="TCP"].name',
        '.spec[="x"]',
    ]


def test_wrong_sets_are_found() -> None:
    assert find_error({"f:a": {"k:{}": {}}}) == ""
    assert find_error({"a": {}}) == "unknown path element a"
    assert find_error({"f:a": 1})


def test_elements_are_written_in_the_order_of_go() -> None:
    wanted = [
        ".",
        "f:b",
        "f:é",
        'k:{"containerPort":80,"protocol":"TCP"}',
        'k:{"containerPort":80,"protocol":"UDP"}',
        'k:{"containerPort":443,"protocol":"TCP"}',
        'k:{"name":"a"}',
        "v:9",
        "v:10",
        'v:"a"',
        "v:true",
        "i:2",
        "i:10",
    ]
    inner: dict[str, Any] = {key: {} for key in reversed(wanted)}
    found = in_order({"f:x": inner, "f:a": {"f:d": {}, "f:c": {}}})
    assert list(found) == ["f:a", "f:x"]
    assert list(found["f:a"]) == ["f:c", "f:d"]
    assert list(found["f:x"]) == wanted


def test_keys_are_escaped_as_go_escapes_them() -> None:
    config = {"metadata": {"finalizers": ["a&b/<c>"]}}
    [key] = applied(config, SCHEMA)["f:metadata"]["f:finalizers"]  # type: ignore[index] # it is no empty set
    assert key == 'v:"a\\u0026b/\\u003cc\\u003e"'


def test_odd_sets_of_clients_have_an_order_too() -> None:
    odd: dict[str, Any] = {"k:{": {}, "v:[1]": {}, "v:null": {}, "i:x": {}, "k:[1]": {}, "f:": {}}
    assert set(in_order(odd)) == set(odd)


def test_elements_of_any_form_have_an_order() -> None:
    keys = (
        "k:1",
        'k:{"name":"a"}',
        "k:",
        "v:1",
        'v:"a"',
        "v:[",
        "v:[1]",
        "i:0",
        "f:a",
        "k:[1]",
        "k:x",
    )
    found = in_order({key: {} for key in keys})
    assert in_order(dict(reversed(found.items()))) == found
    assert list(in_order(dict(reversed(found.items())))) == list(found)

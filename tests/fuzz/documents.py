"""Fuzz targets of the API's machinery: bodies, patches, selectors, and values that have a syntax of their own."""

import copy
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
from fakes.rows import row_of

from fuzz.target import Target, pure
from kubelite.api.errors import APIError
from kubelite.api.http.query import read_options
from kubelite.api.http.request import parse, parse_query, split_target
from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery import apply as applying
from kubelite.api.machinery import managed_fields
from kubelite.api.machinery.field_selectors import parse_field_selector
from kubelite.api.machinery.json_reading import DEPTH_LIMIT, read_json
from kubelite.api.machinery.jsonpath import compile_path, print_values
from kubelite.api.machinery.patch import json_patch, merge_patch
from kubelite.api.machinery.protobuf import MAGIC, read_protobuf
from kubelite.api.machinery.quantity import canonical_quantity, parse_quantity
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.machinery.selectors import label_selector, parse_selector
from kubelite.api.machinery.shaping.go import structure
from kubelite.api.machinery.strategic import strategic_merge
from kubelite.api.machinery.yaml_reading import read_yaml
from kubelite.api.registry.reading import parse_continuation
from kubelite.api.registry.rules.batch import schedule_error
from kubelite.control.cronjob import InvalidSchedule, times

JSON = dict[str, Any]
POD = compile_struct(Pod)
DEPLOYMENT = compile_struct(Deployment)
WRITER = managed_fields.Writer("fuzzer", "v1", "2026-01-01T00:00:00Z")
# A document may come out larger than it came in (an alias is a copy, a key is quoted), but not without bound.
GROWTH = 3 * 1024 * 1024
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)

LIVE: JSON = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "web",
        "namespace": "default",
        "labels": {"app": "web"},
        "finalizers": ["a", "b"],
    },
    "spec": {
        "containers": [
            {"name": "a", "image": "x", "ports": [{"containerPort": 80, "protocol": "TCP"}]},
            {"name": "b", "image": "y", "env": [{"name": "K", "value": "v"}]},
        ],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "tolerations": [{"key": "k", "operator": "Exists"}],
    },
}


def _sound(value: Any) -> None:
    """Hold a decoded document to what the rest of the API relies on: it is JSON, not too deep, not too large."""
    encoded = msgspec.json.encode(value)
    assert len(encoded) <= GROWTH, f"{len(encoded)} bytes"
    assert msgspec.json.decode(encoded) is not None or value is None
    assert _depth(value) <= DEPTH_LIMIT


def _depth(value: Any) -> int:
    level, deepest = [value], 0
    while level := [
        child
        for each in level
        if isinstance(each, dict | list)
        for child in (each.values() if isinstance(each, dict) else each)
    ]:
        deepest += 1
    return deepest


def check_json(data: bytes) -> None:
    """A body is an object that encodes again, or is refused; so is shaping it into any kind."""
    with suppress(APIError):
        reading = read_json(data, find_duplicates=True)
        _sound(reading.value)
        if isinstance(reading.value, dict):
            with suppress(APIError):
                structure(POD, reading.value)


def check_yaml(data: bytes) -> None:
    """As of JSON; keys are texts."""
    with suppress(APIError):
        _sound(read_yaml(data, find_duplicates=True).value)


def check_protobuf(data: bytes) -> None:
    """What is read is an object of a known kind, or is refused."""
    with suppress(APIError):
        read = read_protobuf(data if data.startswith(MAGIC) else MAGIC + data)
        assert isinstance(read, dict)
        _sound(read)


def _patch(data: bytes) -> Any:
    """Return what HTTP hands to a patch: a decoded body."""
    return read_json(data).value


def check_json_patch(data: bytes) -> None:
    """A JSON patch leaves an object, or is refused without a trace in the answer of what it met."""
    with suppress(APIError):
        _sound(json_patch(copy.deepcopy(LIVE), _patch(data)))


def check_merge_patch(data: bytes) -> None:
    """A merge patch done twice is done once."""
    with suppress(APIError):
        patch = _patch(data)
        once = merge_patch(copy.deepcopy(LIVE), copy.deepcopy(patch))
        again = merge_patch(copy.deepcopy(once), copy.deepcopy(patch))
        assert msgspec.json.encode(again) == msgspec.json.encode(once)


def check_strategic_patch(data: bytes) -> None:
    """A strategic merge patch leaves JSON, and no directive in what it adds."""
    with suppress(APIError):
        merged = strategic_merge(POD, copy.deepcopy(LIVE), _patch(data))
        _sound(merged)


def check_apply(data: bytes) -> None:
    """Applying twice is applying once; shaping comes before, as in the verbs."""
    with suppress(APIError):
        config = _patch(data)
        if not isinstance(config, dict):
            return
        structure(POD, config)
        once = applying.apply(POD, copy.deepcopy(LIVE), copy.deepcopy(config), WRITER, force=True)
        again = applying.apply(POD, copy.deepcopy(once), copy.deepcopy(config), WRITER, force=True)
        assert again == once
        applying.apply(POD, None, copy.deepcopy(config), WRITER)


def check_managed_fields(data: bytes) -> None:
    """What clients send as managedFields is understood or set aside."""
    with suppress(APIError):
        value = _patch(data)
        old, new = copy.deepcopy(LIVE), copy.deepcopy(LIVE)
        entries = value.get("metadata", {}) if isinstance(value, dict) else {}
        if isinstance(entries, dict):
            old["metadata"]["managedFields"] = entries.get("managedFields")
        structure(POD, old)
        managed_fields.track(POD, old, new, WRITER)
        _sound(new)


def check_selector(data: bytes) -> None:
    """A selector written out reads back as itself."""
    text = data.decode("utf-8", "replace")
    with suppress(APIError):
        selector = parse_selector(text)
        assert parse_selector(str(selector)) == selector
        selector.matches({"app": "web", "n": "3"})


def check_label_selector(data: bytes) -> None:
    """A LabelSelector of an object is one or is refused."""
    with suppress(APIError):
        value = _patch(data)
        if isinstance(value, dict):
            body: JSON = {"spec": {"selector": value}}
            structure(DEPLOYMENT, body)
            label_selector(body["spec"].get("selector")).matches({"app": "web"})


def check_field_selector(data: bytes) -> None:
    """A field selector written out reads back as itself."""
    text = data.decode("utf-8", "replace")
    with suppress(APIError):
        selector = parse_field_selector(text, row_of("", "Pod").fields)
        again = parse_field_selector(str(selector), row_of("", "Pod").fields)
        assert sorted(again.terms, key=str) == sorted(selector.terms, key=str)
        selector.matches(LIVE)


def check_quantity(data: bytes) -> None:
    """The canonical form of a quantity is short, the same amount, and at rest when it is read once more.

    Only a binary amount that no binary suffix divides is not at rest at once: it loses its suffix, as in Kubernetes.
    """
    text = data.decode("utf-8", "replace")
    try:
        canonical = canonical_quantity(text)
    except ValueError:
        return
    again = canonical_quantity(canonical)
    assert canonical_quantity(again) == again
    assert again == canonical or canonical.lstrip("-").isdecimal()
    assert parse_quantity(canonical) == parse_quantity(text)
    assert len(canonical) < 100
    assert canonical.isascii()


def check_cron(data: bytes) -> None:
    """A schedule that validation takes has a next time, or is refused by the controller in words."""
    text = data.decode("utf-8", "replace")
    zone: str | None
    text, _, zone = text.partition("|")
    if schedule_error(text):
        return
    with suppress(InvalidSchedule):
        found = times(text, zone or None, NOW.replace(year=2020), NOW)
        assert found.next > NOW
        assert found.last is None or found.last <= NOW


def check_jsonpath(data: bytes) -> None:
    """A path compiles or is a ValueError; what it finds is bounded."""
    text = data.decode("utf-8", "replace")
    with suppress(ValueError):
        found = compile_path(text)(LIVE)
        assert len(print_values(found)) <= GROWTH


def check_continue(data: bytes) -> None:
    """A token is one of ours or is refused; it never leads outside of its resource."""
    text = data.decode("latin-1")
    with suppress(APIError):
        found = parse_continuation(text)
        assert not found.start.startswith("/")
        assert "//" not in found.start
        assert parse_continuation(found.token()) == found


def check_request_target(data: bytes) -> None:
    """A path has one reading, its query is text, and both or one of them is refused."""
    text = data.decode("utf-8", "surrogateescape")
    with suppress(APIError):
        path, raw_query = split_target(text)
        query = parse_query(raw_query)
        target = parse("GET", path, query)
        attributes = target.attributes
        for part in (attributes.namespace, attributes.name, attributes.resource):
            assert "/" not in part
            assert part not in (".", "..")
        read_options(query)


TARGETS = (
    Target("json", pure(check_json), is_json=True),
    Target("yaml", pure(check_yaml), cost=2),
    Target("protobuf", pure(check_protobuf), cost=2),
    Target("json-patch", pure(check_json_patch), is_json=True, cost=8),
    Target("merge-patch", pure(check_merge_patch), is_json=True),
    Target("strategic-patch", pure(check_strategic_patch), is_json=True),
    Target("apply", pure(check_apply), is_json=True, cost=3),
    Target("managed-fields", pure(check_managed_fields), is_json=True, cost=2),
    Target("selector", pure(check_selector)),
    Target("label-selector", pure(check_label_selector), is_json=True),
    Target("field-selector", pure(check_field_selector)),
    Target("quantity", pure(check_quantity)),
    Target("cron", pure(check_cron)),
    Target("jsonpath", pure(check_jsonpath)),
    Target("continue", pure(check_continue)),
    Target("request-target", pure(check_request_target)),
)

from contextlib import suppress
from typing import Any

import pytest
from complete_objects import body, field, protobuf_of, samples, varint
from digests import digest, field_numbers, golden_digests
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.errors import BadRequest, RequestEntityTooLarge
from kubelite.api.kinds.catalog import kinds
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.protobuf import MAGIC, read_protobuf
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.machinery.shaping.go import structure


def test_fields_are_found_by_number() -> None:
    labels = field(1, "app") + field(2, "hello")
    metadata = field(1, "a") + field(11, labels) + field(14, b"f") + field(14, b"g")
    assert read_protobuf(body("v1", "ConfigMap", field(1, metadata), field(4, 1))) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "labels": {"app": "hello"}, "finalizers": ["f", "g"]},
        "immutable": True,
    }


def test_messages_that_json_lays_flat() -> None:
    volume = field(1, "v") + field(2, field(2, b""))
    spec = field(1, volume)
    assert read_protobuf(body("v1", "Pod", field(2, spec)))["spec"] == {
        "volumes": [{"name": "v", "emptyDir": {}}]
    }


def test_values_that_json_spells_differently() -> None:
    secret = read_protobuf(body("v1", "Secret", field(2, field(1, "k") + field(2, b"\xff\x00"))))
    assert secret["data"] == {"k": "/wA="}
    lease = field(3, field(1, 1) + field(2, 5000)) + field(2, -1)
    assert read_protobuf(body("coordination.k8s.io/v1", "Lease", field(2, lease)))["spec"] == {
        "acquireTime": "1970-01-01T00:00:01.000005Z",
        "leaseDurationSeconds": -1,
    }
    ports = field(3, 80) + field(4, field(1, 1) + field(3, "http"))
    service = read_protobuf(body("v1", "Service", field(2, field(1, ports))))
    assert service["spec"]["ports"] == [{"port": 80, "targetPort": "http"}]


def test_options_are_known_in_every_group() -> None:
    for api_version in ("v1", "apps/v1", "meta.k8s.io/v1", "custom.io/v1"):
        options = read_protobuf(body(api_version, "DeleteOptions", field(1, 5), field(4, "Orphan")))
        assert options["gracePeriodSeconds"] == 5
        assert options["propagationPolicy"] == "Orphan"


def test_raw_values_are_json_or_protobuf() -> None:
    revision = field(2, field(1, b'{"a": 1}'))
    assert read_protobuf(body("apps/v1", "ControllerRevision", revision))["data"] == {"a": 1}
    inner = body("v1", "ConfigMap", field(4, 1))
    revision = field(2, field(1, inner))
    assert read_protobuf(body("apps/v1", "ControllerRevision", revision))["data"] == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "immutable": True,
    }


def test_packed_numbers_and_unknown_fields() -> None:
    options = body(
        "v1", "PodPortForwardOptions", field(1, varint(80) + varint(443)), field(99, "x")
    )
    assert read_protobuf(options)["ports"] == [80, 443]


def test_json_in_the_envelope() -> None:
    assert read_protobuf(MAGIC + field(2, b'{"a": 1}') + field(4, "application/json")) == {"a": 1}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{}", "does not appear to be a protobuf message"),
        (MAGIC, 'no kind "" is registered for version ""'),
        (body("v1", "Nothing"), 'no kind "Nothing" is registered for version "v1"'),
        (body("v1", "Pod", b"\x0a\x7f"), "unexpected EOF"),
        (body("v1", "Pod", b"\xff" * 11), "unexpected EOF"),
        (body("v1", "Pod", b"\x0b"), "illegal wireType 3"),
        (body("v1", "Pod", field(1, 5)), "wrong wireType = 0"),
        (body("v1", "ConfigMap", field(4, "x")), "wrong wireType = 2"),
        (body("v1", "ConfigMap", field(1, field(1, b"\xff"))), "invalid start byte"),
        (body("apps/v1", "ControllerRevision", field(2, field(1, b"{"))), "truncated"),
        (MAGIC + field(2, b"[]") + field(4, "application/json"), "is no object"),
        (MAGIC + field(1, 5), "wrong wireType = 0"),
        (MAGIC + field(1, field(1, 5)), "wrong wireType = 0"),
        (MAGIC + field(2, 5) + field(4, "application/json"), "wrong wireType = 0"),
        (MAGIC + field(4, 5), "wrong wireType = 0"),
        (body("v1", "Pod", field(1, field(8, field(1, b"x")))), "wrong wireType = 2"),
        (body("v1", "ConfigMap", field(2, field(1, 5))), "wrong wireType = 0"),
        (body("apps/v1", "ControllerRevision", field(2, field(1, 5))), "wrong wireType = 0"),
    ],
)
def test_malformed_bodies_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_protobuf(data)
    assert message in refused.value.message


def test_nesting_is_limited() -> None:
    inner = body("v1", "ConfigMap")
    for _ in range(200):
        inner = body("apps/v1", "ControllerRevision", field(2, field(1, inner)))
    with pytest.raises(BadRequest, match="exceeded max depth"):
        read_protobuf(inner)


def test_field_numbers_are_those_of_kubernetes() -> None:
    numbers = {group: digest(messages) for group, messages in field_numbers().items()}
    assert numbers == {name: said for name, said in golden_digests().items() if "/" not in name}


# Servers alone send a WatchEvent, in a form of its own.
SENT = [sample for sample in samples() if "WatchEvent" not in sample[0]]


@pytest.mark.parametrize(("made", "data"), [it[1:] for it in SENT], ids=[it[0] for it in SENT])
def test_complete_objects_decode_to_their_json(made: dict[str, Any], data: bytes) -> None:
    decoded = read_protobuf(data)
    group, _, version = decoded["apiVersion"].rpartition("/")
    structure(compile_struct(kinds()[GroupVersionKind(group, version, decoded["kind"])]), decoded)
    assert decoded == made


@pytest.mark.parametrize(
    "said",
    [
        {"additionalProperties": True},
        {"additionalItems": {"type": "string"}},
        {"items": [{"type": "string"}, {"type": "integer"}]},
        {"items": {"type": "string"}},
        {"dependencies": {"a": ["b", "c"]}},
        {"dependencies": {"a": {"required": ["b"]}}},
    ],
)
def test_schemas_hold_schemas_or_something_else(said: dict[str, Any]) -> None:
    gvk = GroupVersionKind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    version = {"name": "v1", "schema": {"openAPIV3Schema": {"type": "object", **said}}}
    made = {"spec": {"versions": [version]}}
    assert read_protobuf(protobuf_of(gvk, made))["spec"] == made["spec"]


EMPTY_CONTAINER, EMPTY_LABEL, EMPTY_FINALIZER = field(2, b""), field(7, b""), field(14, b"")


@pytest.mark.parametrize(
    "data",
    [
        body("v1", "Pod", field(2, EMPTY_CONTAINER * 600_000)),
        body("v1", "Pod", field(2, EMPTY_LABEL * 600_000)),
        body("v1", "Pod", field(1, EMPTY_FINALIZER * 600_000)),
        body("v1", "PodPortForwardOptions", field(1, b"\0" * 600_000)),
        body("apps/v1", "ControllerRevision", field(2, field(1, b"[" + b"{}," * 600_000 + b"1]"))),
        MAGIC + field(2, b'{"a":[' + b"{}," * 600_000 + b"1]}") + field(4, "application/json"),
    ],
)
def test_bodies_of_many_values_are_refused(data: bytes) -> None:
    with pytest.raises(RequestEntityTooLarge):
        read_protobuf(data)


def test_a_secret_of_a_megabyte_is_read() -> None:
    entry = field(1, "k") + field(2, b"\xff" * 1_048_576)
    assert len(read_protobuf(body("v1", "Secret", field(2, entry)))["data"]["k"]) > 1_048_576


@pytest.mark.parametrize(
    "data",
    [
        MAGIC + field(1, 5),
        MAGIC + field(2, 5) + field(1, field(1, "v1") + field(2, "Pod")),
        MAGIC + field(4, 5),
        MAGIC + field(1, field(1, 5)),
        body("apps/v1", "ControllerRevision", field(2, field(1, 5))),
        body("apps/v1", "ControllerRevision", field(2, 5)),
        body("v1", "ConfigMap", field(2, 5)),
        body("v1", "ConfigMap", field(2, field(1, 5))),
        body("v1", "Pod", field(1, field(8, field(1, "x")))),
        body("v1", "Service", field(2, field(1, field(4, field(1, 1) + field(3, 5))))),
        body("v1", "Service", field(2, field(1, field(4, field(2, "x"))))),
    ],
)
def test_wrong_wire_types_are_refused_wherever_they_stand(data: bytes) -> None:
    with pytest.raises(BadRequest, match="wrong wireType"):
        read_protobuf(data)


@given(st.binary(max_size=60), st.sampled_from(sorted(kinds(), key=str)))
def test_bytes_of_any_kind_are_decoded_or_refused(data: bytes, gvk: GroupVersionKind) -> None:
    with suppress(BadRequest):
        read_protobuf(body(f"{gvk.group}/{gvk.version}".lstrip("/"), gvk.kind, data))
    with suppress(BadRequest):
        read_protobuf(MAGIC + data)


def test_json_within_obeys_the_limit_of_depth() -> None:
    deep = b"[" * 300 + b"]" * 300
    with pytest.raises(BadRequest, match="exceeded max depth"):
        read_protobuf(body("apps/v1", "ControllerRevision", field(2, field(1, deep))))
    with pytest.raises(BadRequest, match="exceeded max depth"):
        read_protobuf(MAGIC + field(2, b'{"a":' + deep + b"}") + field(4, "application/json"))

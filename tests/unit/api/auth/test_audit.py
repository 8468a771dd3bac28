from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubelite.api.auth.audit import BODY_BYTES_MAX, Auditor, AuditRecord
from kubelite.api.auth.audit_log import Bounds, LineLog
from kubelite.api.auth.audit_policy import AuditPolicy
from kubelite.api.auth.caller import Attributes, Caller
from kubelite.clock import SetClock
from kubelite.randomness import SeededRandomness

CLOCK = SetClock(datetime(2026, 9, 1, tzinfo=UTC))
ANNA = Caller("anna", ("team",), "7", {"scope": ("a",)})
SECRET = Attributes("create", "", "v1", "secrets", "", "shop", "password")


class Lines(LineLog):
    def __init__(self) -> None:
        super().__init__(Path("unused"), Bounds(), CLOCK)
        self.events: list[dict[str, Any]] = []

    def put(self, line: bytes) -> None:
        self.events.append(msgspec.json.decode(line))


def begun(
    level: str, attributes: Attributes = SECRET, more: str = "", **who: str
) -> tuple[Lines, AuditRecord]:
    lines = Lines()
    policy = AuditPolicy.read(f"rules: [{{level: {level}}}]\n{more}")
    record = Auditor(policy, lines, CLOCK, SeededRandomness(1)).begin(
        ANNA, attributes, uri="/x?y=z", **who
    )
    assert record is not None
    return lines, record


def test_who_what_and_when() -> None:
    lines, record = begun("Metadata", source="192.0.2.1", user_agent="kubectl")
    record.decided('RBAC: allowed by ClusterRoleBinding "b"', allowed=True)
    record.complete(201, b"{}")
    first, last = lines.events
    assert first["stage"] == "RequestReceived"
    assert "annotations" not in first
    assert last == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": first["auditID"],
        "stage": "ResponseComplete",
        "requestURI": "/x?y=z",
        "verb": "create",
        "user": {"username": "anna", "uid": "7", "groups": ["team"], "extra": {"scope": ["a"]}},
        "sourceIPs": ["192.0.2.1"],
        "userAgent": "kubectl",
        "objectRef": {
            "resource": "secrets",
            "namespace": "shop",
            "name": "password",
            "apiVersion": "v1",
        },
        "responseStatus": {"metadata": {}, "code": 201},
        "requestReceivedTimestamp": "2026-09-01T00:00:00Z",
        "stageTimestamp": "2026-09-01T00:00:00Z",
        "annotations": {
            "authorization.k8s.io/decision": "allow",
            "authorization.k8s.io/reason": 'RBAC: allowed by ClusterRoleBinding "b"',
        },
    }


def test_nothing_is_written_at_none() -> None:
    lines = Lines()
    policy = AuditPolicy.read("rules: []")
    assert Auditor(policy, lines, CLOCK, SeededRandomness(1)).begin(ANNA, SECRET, uri="/") is None
    assert lines.events == []


def test_no_value_of_a_secret_at_metadata() -> None:
    lines, record = begun("Metadata")
    record.request({"data": {"password": "s3cret"}})
    status = {
        "kind": "Status",
        "status": "Failure",
        "reason": "Invalid",
        "message": 'Invalid value: "s3cret"',
    }
    record.complete(422, msgspec.json.encode(status))
    assert "s3cret" not in str(lines.events)
    assert lines.events[-1]["responseStatus"] == {
        "metadata": {},
        "code": 422,
        "status": "Failure",
        "reason": "Invalid",
    }


@pytest.mark.parametrize(
    ("level", "request_", "response"), [("Request", True, False), ("RequestResponse", True, True)]
)
def test_bodies(level: str, request_: bool, response: bool) -> None:
    lines, record = begun(level, Attributes("create", resource="pods"))
    body = {"metadata": {"name": "a"}}
    record.request(body)
    body["metadata"]["name"] = "changed later"
    record.complete(201, b'{"metadata":{"uid":"u"}}')
    last = lines.events[-1]
    assert last.get("requestObject") == ({"metadata": {"name": "a"}} if request_ else None)
    assert last.get("responseObject") == ({"metadata": {"uid": "u"}} if response else None)


WRITTEN = {"metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7"}}


@pytest.mark.parametrize(
    ("verb", "name", "body", "expected"),
    [
        ("create", "", WRITTEN, {"name": "a", "uid": "u", "resourceVersion": "7"}),
        ("update", "b", WRITTEN, {"name": "b", "uid": "u", "resourceVersion": "7"}),
        ("patch", "b", WRITTEN, {"name": "b"}),
        ("delete", "b", WRITTEN, {"name": "b"}),
        ("deletecollection", "", WRITTEN, {}),
        ("create", "", {"metadata": {"generateName": "a-"}}, {}),
        ("create", "", {"metadata": {"name": 7, "uid": ["u"]}}, {}),
        ("create", "", {"metadata": {"name": "x" * 254}}, {}),
        ("create", "", {"metadata": "x"}, {}),
        ("create", "", ["x"], {}),
    ],
)
def test_the_object_of_a_write_is_named_by_its_body(
    verb: str, name: str, body: Any, expected: dict[str, str]
) -> None:
    attributes = Attributes(verb, "", "v1", "pods", "", "shop", name)
    lines, record = begun("Metadata", attributes)
    record.request(body)
    record.complete(201, b"{}")
    common = {"resource": "pods", "namespace": "shop", "apiVersion": "v1"}
    assert lines.events[0]["objectRef"] == common | ({"name": name} if name else {})
    assert lines.events[-1]["objectRef"] == common | expected
    assert "requestObject" not in lines.events[-1]


def test_large_bodies_are_left_out() -> None:
    lines, record = begun("Request", Attributes("create", resource="pods"))
    record.request({"x": "y" * BODY_BYTES_MAX})
    record.complete(413)
    assert lines.events[-1]["requestObject"] is None
    assert "kubelite.io/body-omitted" in lines.events[-1]["annotations"]


def test_managed_fields_can_be_omitted() -> None:
    lines, record = begun(
        "RequestResponse", Attributes("list", resource="pods"), more="omitManagedFields: true"
    )
    record.complete(200, b'{"items":[{"metadata":{"name":"a","managedFields":[{}]}}]}')
    assert lines.events[-1]["responseObject"] == {"items": [{"metadata": {"name": "a"}}]}


def test_watches_and_failures() -> None:
    lines, record = begun("Metadata", more="omitStages: [RequestReceived]")
    record.acts_as(Caller("ben"))
    record.started(200)
    record.panic()
    assert [event["stage"] for event in lines.events] == ["ResponseStarted", "Panic"]
    assert lines.events[0]["impersonatedUser"] == {"username": "ben"}
    assert lines.events[1]["responseStatus"]["code"] == 500


def test_lines_hold_no_line_breaks() -> None:
    lines = Lines()
    written: list[bytes] = []
    lines.put = written.append  # type: ignore[assignment,method-assign]  # the bytes themselves
    policy = AuditPolicy.read("rules: [{level: Metadata}]")
    record = Auditor(policy, lines, CLOCK, SeededRandomness(1)).begin(
        Caller('a"\n,}'), SECRET, uri='/x?y="\n{', user_agent='"},\n'
    )
    assert record is not None
    record.complete(200)
    for line in written:
        assert b"\n" not in line
        event = msgspec.json.decode(line)
        assert event["user"] == {"username": 'a"\n,}'}
        assert event["userAgent"] == '"},\n'


def test_pretty_bodies_take_one_line() -> None:
    lines = Lines()
    written: list[bytes] = []
    lines.put = written.append  # type: ignore[assignment,method-assign]  # the bytes themselves
    policy = AuditPolicy.read("rules: [{level: RequestResponse}]")
    record = Auditor(policy, lines, CLOCK, SeededRandomness(1)).begin(Caller("a"), SECRET, uri="/")
    assert record is not None
    record.complete(200, b'{\n  "a": [\n    {}\n  ],\n  "b": "\\n x"\n}\n')
    assert all(b"\n" not in line for line in written)
    assert msgspec.json.decode(written[-1])["responseObject"] == {"a": [{}], "b": "\n x"}


def test_bytes_that_are_no_text_are_replaced() -> None:
    lines = Lines()
    odd = b"x\xff\xe2\x82".decode("utf-8", "surrogateescape")
    policy = AuditPolicy.read("rules: [{level: RequestResponse}]")
    record = Auditor(policy, lines, CLOCK, SeededRandomness(1)).begin(
        Caller(odd, (odd,)), SECRET, uri=odd, user_agent=odd, identifier=odd
    )
    assert record is not None
    record.acts_as(Caller(odd, extra={odd: (odd,)}))
    record.decided(odd, allowed=True)
    record.complete(200, b'{"a": 1}')
    event = lines.events[-1]
    said = "x\ufffd\ufffd"
    assert (event["user"]["username"], event["userAgent"], event["auditID"]) == (said, said, said)
    assert event["impersonatedUser"]["extra"] == {said: [said]}
    assert event["responseObject"] == {"a": 1}

"""The audit log: who asked for what, when, and how it ended, as far as the policy wants it (audit.k8s.io/v1 events).

The HTTP layer begins a record for each request once the caller is known, and tells it how the request goes. A record of
level Metadata never holds a body, nor the message of a refused Secret.
"""

from typing import Any

import msgspec

from kubelite.api.auth.audit_log import LineLog
from kubelite.api.auth.audit_policy import API_VERSION, LEVEL_NAMES, AuditPolicy, Extent, Level
from kubelite.api.auth.caller import Attributes, Caller
from kubelite.clock import Clock
from kubelite.randomness import Randomness

RECEIVED, STARTED, COMPLETE, PANIC = (
    "RequestReceived",
    "ResponseStarted",
    "ResponseComplete",
    "Panic",
)
BODY_BYTES_MAX = 1024 * 1024  # larger bodies are left out, and that is said
ERROR_CODE = 400

encode = msgspec.json.Encoder().encode  # writes dates itself, in RFC 3339


class Auditor:
    """Begins records."""

    def __init__(
        self, policy: AuditPolicy, lines: LineLog, clock: Clock, randomness: Randomness
    ) -> None:
        self._policy = policy
        self._lines = lines
        self._clock = clock
        self._randomness = randomness

    def begin(
        self,
        caller: Caller,
        attributes: Attributes,
        *,
        uri: str,
        source: str = "",
        user_agent: str = "",
        identifier: str = "",
    ) -> "Record | None":
        """Begin the record of a request by `caller`; None: it is not written.

        The policy is asked about who proved to call, whoever is then acted as, so that nobody slips out of the log.
        """
        extent = self._policy.extent(caller, attributes)
        if extent.level is Level.NONE:
            return None
        event: dict[str, Any] = {
            "kind": "Event",
            "apiVersion": API_VERSION,
            "level": LEVEL_NAMES[extent.level],
            "auditID": identifier or self._randomness.uid(),
            "stage": "",
            "requestURI": uri,
            "verb": attributes.verb,
            "user": _user(caller),
            "sourceIPs": [source] if source else [],
            "userAgent": user_agent,
            "requestReceivedTimestamp": self._clock.now(),
        }
        if attributes.resource:
            event["objectRef"] = _reference(attributes)
        record = Record(event, extent, attributes, self._lines, self._clock)
        record.stage(RECEIVED)
        return record


class Record:
    """The record of one request; each stage that is not omitted becomes a line."""

    def __init__(
        self,
        event: dict[str, Any],
        extent: Extent,
        attributes: Attributes,
        lines: LineLog,
        clock: Clock,
    ) -> None:
        self._event = event
        self._extent = extent
        self._attributes = attributes
        self._lines = lines
        self._clock = clock
        self._annotations: dict[str, str] = {}

    @property
    def wants_request(self) -> bool:
        """Whether `request` would be written; spares encoding it."""
        return self._extent.level >= Level.REQUEST

    @property
    def wants_response(self) -> bool:
        """Whether the response's body would be written."""
        return self._extent.level >= Level.REQUEST_RESPONSE

    def annotate(self, name: str, value: str) -> None:
        """Add a fact, such as why the request was allowed."""
        self._annotations[name] = value

    def acts_as(self, caller: Caller) -> None:
        """Note as whom the caller acts."""
        self._event["impersonatedUser"] = _user(caller)

    def decided(self, reason: str, *, allowed: bool) -> None:
        """Note what authorization said."""
        self.annotate("authorization.k8s.io/decision", "allow" if allowed else "forbid")
        self.annotate("authorization.k8s.io/reason", reason)

    def request(self, body: Any) -> None:
        """Note the body that was sent, as it is now."""
        if self.wants_request:
            self._event["requestObject"] = self._body(encode(body))

    def started(self, code: int) -> None:
        """Note that a long answer, such as a watch, has begun."""
        self._event["responseStatus"] = {"metadata": {}, "code": code}
        self.stage(STARTED)

    def complete(self, code: int, body: bytes | None = None) -> None:
        """Note that the request is over; `body` is the JSON that was answered."""
        self._event["responseStatus"] = self._status(code, body)
        if body is not None and self.wants_response:
            self._event["responseObject"] = self._body(body)
        self.stage(COMPLETE)

    def panic(self) -> None:
        """Note that the server failed."""
        self._event["responseStatus"] = {"metadata": {}, "status": "Failure", "code": 500}
        self.stage(PANIC)

    def stage(self, name: str) -> None:
        """Write a line, unless the policy omits the stage."""
        if name in self._extent.omitted_stages:
            return
        event = self._event | {"stage": name, "stageTimestamp": self._clock.now()}
        if self._annotations:
            event["annotations"] = dict(self._annotations)
        if self._extent.omits_managed_fields:
            event = _without_managed_fields(event)
        # Bytes at once: what waits for the thread as objects would be looked through by each garbage collection.
        self._lines.put(encode(event))

    def _status(self, code: int, body: bytes | None) -> dict[str, Any]:
        status: dict[str, Any] = {"metadata": {}, "code": code}
        if body is None or code < ERROR_CODE or len(body) > BODY_BYTES_MAX:
            return status
        try:
            told = msgspec.json.decode(body)
        except msgspec.DecodeError:
            return status
        if not isinstance(told, dict) or told.get("kind") != "Status":
            return status
        fields = ["status", "reason"]
        if self._attributes.resource != "secrets":  # a message may repeat a value that was sent
            fields.append("message")
        return status | {field: told[field] for field in fields if field in told}

    def _body(self, body: bytes) -> Any:
        if len(body) > BODY_BYTES_MAX:
            self.annotate("kubelite.io/body-omitted", f"{len(body)} bytes")
            return None
        return msgspec.Raw(body)


def _user(caller: Caller) -> dict[str, Any]:
    user: dict[str, Any] = {"username": caller.user}
    if caller.uid:
        user["uid"] = caller.uid
    if caller.groups:
        user["groups"] = list(caller.groups)
    if caller.extra:
        user["extra"] = {key: list(values) for key, values in caller.extra.items()}
    return user


def _reference(attributes: Attributes) -> dict[str, str]:
    fields = {
        "resource": attributes.resource,
        "namespace": attributes.namespace,
        "name": attributes.name,
        "apiGroup": attributes.group,
        "apiVersion": attributes.version,
        "subresource": attributes.subresource,
    }
    return {field: value for field, value in fields.items() if value}


def _without_managed_fields(event: dict[str, Any]) -> dict[str, Any]:
    """Drop what only repeats who wrote which field."""
    event = dict(event)
    for field in ("requestObject", "responseObject"):
        if isinstance(event.get(field), msgspec.Raw):
            body = msgspec.json.decode(event[field])
            for item in [body, *(body.get("items") or [])] if isinstance(body, dict) else []:
                if isinstance(item, dict) and isinstance(item.get("metadata"), dict):
                    item["metadata"].pop("managedFields", None)
            event[field] = body
    return event

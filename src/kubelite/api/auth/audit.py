"""The audit log: who asked for what, when, and how it ended, as far as the policy wants it (audit.k8s.io/v1 events).

The HTTP layer begins a record for each request once the caller is known, and tells it how the request goes. A record of
level Metadata never holds a body, nor the message of a refused Secret.

What all lines of a request have in common is encoded once; a line is that and the little that is its own.
"""

from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

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
# Looking up members of an enumeration would cost as much as encoding a line.
NAMES = tuple(LEVEL_NAMES[level] for level in Level)
REQUEST, REQUEST_RESPONSE = int(Level.REQUEST), int(Level.REQUEST_RESPONSE)
BODY_BYTES_MAX = 1024 * 1024  # larger bodies are left out, and that is said
ERROR_CODE = 400
DECISION, REASON = "authorization.k8s.io/decision", "authorization.k8s.io/reason"

_encode = msgspec.json.Encoder().encode  # writes dates itself, in RFC 3339


def encode(value: Any) -> bytes:
    """Return a value as JSON on one line, whatever bytes a client put into the texts of it.

    Bytes of a header that are no UTF-8 arrive as lone surrogates, which JSON cannot say: they become U+FFFD.
    """
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(_sayable(msgspec.to_builtins(value, builtin_types=(datetime, Raw))))


def _sayable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_sayable(key): _sayable(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_sayable(child) for child in value]
    return value


class _Person(Struct, frozen=True, omit_defaults=True, gc=False):
    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class _Reference(Struct, frozen=True, omit_defaults=True, gc=False, rename="camel"):
    resource: str
    namespace: str = ""
    name: str = ""
    api_group: str = ""
    api_version: str = ""
    subresource: str = ""


class _Common(Struct, frozen=True, gc=False):
    """What every line of a request says, named as on the wire."""

    kind: str
    apiVersion: str  # noqa: N815 - as on the wire
    level: str
    auditID: str  # noqa: N815 - as on the wire
    requestURI: str  # noqa: N815 - as on the wire
    verb: str
    user: _Person
    sourceIPs: tuple[str, ...]  # noqa: N815 - as on the wire
    userAgent: str  # noqa: N815 - as on the wire
    objectRef: _Reference | UnsetType  # noqa: N815 - as on the wire
    requestReceivedTimestamp: datetime  # noqa: N815 - as on the wire


class _Own(Struct, frozen=True, gc=False):
    """What one line says."""

    stage: str
    stageTimestamp: datetime  # noqa: N815 - as on the wire
    impersonatedUser: _Person | UnsetType = UNSET  # noqa: N815 - as on the wire
    responseStatus: Any = UNSET  # noqa: N815 - as on the wire
    requestObject: Any = UNSET  # noqa: N815 - as on the wire
    responseObject: Any = UNSET  # noqa: N815 - as on the wire
    annotations: dict[str, str] | UnsetType = UNSET


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
    ) -> "AuditRecord | None":
        """Begin the record of a request; None: the policy does not want it.

        `caller` is who proved to be there, whomever they act as later.
        """
        extent = self._policy.extent(caller, attributes)
        if not extent.level:
            return None
        now = self._clock.now()
        common = _encoded(
            _Common(
                "Event",
                API_VERSION,
                NAMES[extent.level],
                identifier or self._randomness.uid(),
                uri,
                attributes.verb,
                _person(caller),
                (source,) if source else (),
                user_agent,
                _reference(attributes) if attributes.resource else UNSET,
                now,
            )
        )
        record = AuditRecord(
            common=common[:-1],
            extent=extent,
            attributes=attributes,
            lines=self._lines,
            clock=self._clock,
        )
        if RECEIVED not in extent.omitted_stages:
            record.write(_Own(RECEIVED, now))
        return record


class AuditRecord(Struct, kw_only=True):
    """The record of one request; each stage that is not omitted becomes a line."""

    common: bytes  # the JSON object of what all lines say, without its closing brace
    extent: Extent
    attributes: Attributes
    lines: LineLog
    clock: Clock
    acting_as: Caller | None = None
    sent: Any = UNSET  # the body of the request
    annotations: dict[str, str] = {}  # facts, such as why the request was allowed

    @property
    def wants_request(self) -> bool:
        """Whether `request` would be written; spares encoding it."""
        return self.extent.level >= REQUEST

    @property
    def wants_response(self) -> bool:
        """Whether the response's body would be written."""
        return self.extent.level >= REQUEST_RESPONSE

    def acts_as(self, caller: Caller) -> None:
        """Note that the request is impersonated."""
        self.acting_as = caller

    def decided(self, reason: str, *, allowed: bool) -> None:
        """Note what authorization said."""
        self.annotations[DECISION] = "allow" if allowed else "forbid"
        self.annotations[REASON] = reason

    def request(self, body: Any) -> None:
        """Note the body that was sent, as it is now."""
        if self.wants_request:
            self.sent = self._body(encode(body))

    def started(self, code: int) -> None:
        """Note that a long answer, such as a watch, has begun."""
        self._stage(STARTED, _status_of(code))

    def complete(self, code: int, body: bytes | None = None) -> None:
        """Note that the request is over; `body` is the JSON that was answered."""
        response = UNSET if body is None or not self.wants_response else self._body(body)
        status = _status_of(code) if code < ERROR_CODE else self._status(code, body)
        self._stage(COMPLETE, status, response)

    def panic(self) -> None:
        """Note that the server failed."""
        self._stage(PANIC, {"metadata": {}, "status": "Failure", "code": 500})

    def _stage(self, name: str, status: Any, response: Any = UNSET) -> None:
        """Write a line, unless the policy omits the stage."""
        if name in self.extent.omitted_stages:
            return
        request = self.sent
        if self.extent.omits_managed_fields:
            request, response = _without_managed_fields(request), _without_managed_fields(response)
        self.write(
            _Own(
                name,
                self.clock.now(),
                UNSET if self.acting_as is None else _person(self.acting_as),
                status,
                request,
                response,
                self.annotations or UNSET,
            )
        )

    def write(self, own: _Own) -> None:
        """Write a line."""
        # Bytes at once: what waits for the thread as objects would be looked through by each garbage collection.
        self.lines.put(b"%b,%b" % (self.common, encode(own)[1:]))

    def _status(self, code: int, body: bytes | None) -> Any:
        if body is None or len(body) > BODY_BYTES_MAX:
            return _status_of(code)
        try:
            told = msgspec.json.decode(body)
        except msgspec.DecodeError:
            return _status_of(code)
        if not isinstance(told, dict) or told.get("kind") != "Status":
            return _status_of(code)
        fields = ["status", "reason"]
        if self.attributes.resource != "secrets":  # a message may repeat a value that was sent
            fields.append("message")
        status: dict[str, Any] = {"metadata": {}, "code": code}
        return status | {field: told[field] for field in fields if field in told}

    def _body(self, body: bytes) -> Any:
        if len(body) > BODY_BYTES_MAX:
            self.annotations["kubelite.io/body-omitted"] = f"{len(body)} bytes"
            return None
        # A body that was asked for with `pretty` has lines of its own, which readers of the log would take for events.
        return Raw(msgspec.json.format(body, indent=-1) if b"\n" in body else body)


def _encoded(common: _Common) -> bytes:
    """Encode what all lines say; bytes of a request that are no text become the replacement character."""
    try:
        return encode(common)
    except UnicodeEncodeError:
        return encode(_readable(msgspec.to_builtins(common)))


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="surrogateescape").decode(errors="replace")
    if isinstance(value, dict):
        return {_readable(key): _readable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(item) for item in value]
    return value


def _person(caller: Caller) -> _Person:
    return _Person(caller.user, caller.uid, caller.groups, caller.extra)  # type: ignore[arg-type]  # a mapping will do


@cache
def _status_of(code: int) -> Raw:
    return Raw(b'{"metadata":{},"code":%d}' % code)


def _reference(attributes: Attributes) -> _Reference:
    return _Reference(
        attributes.resource,
        attributes.namespace,
        attributes.name,
        attributes.group,
        attributes.version,
        attributes.subresource,
    )


def _without_managed_fields(body: Any) -> Any:
    """Drop from a body what only repeats who wrote which field."""
    if not isinstance(body, Raw):
        return body
    found = msgspec.json.decode(body)
    for item in [found, *(found.get("items") or [])] if isinstance(found, dict) else []:
        if isinstance(item, dict) and isinstance(item.get("metadata"), dict):
            item["metadata"].pop("managedFields", None)
    return found

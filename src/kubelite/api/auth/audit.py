"""The audit log: audit.k8s.io/v1 events about requests, as far as the policy wants them.

The HTTP layer begins a record for each request once the caller is known, and reports each stage of the request to it. A
record of level Metadata never holds a body, nor the error message of a request for Secrets.

The fields common to all lines of a request are encoded once; each line appends its own fields.
"""

from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import replace

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
# A look-up of enum members costs as much as encoding a line, so do it once.
NAMES = tuple(LEVEL_NAMES[level] for level in Level)
REQUEST, REQUEST_RESPONSE = int(Level.REQUEST), int(Level.REQUEST_RESPONSE)
NAMING = ("create", "update")  # verbs whose bodies are objects
NAME_LENGTH_MAX = 253  # nothing longer is a name
BODY_BYTES_MAX = 1024 * 1024  # larger bodies are omitted, with an annotation
ERROR_CODE = 400
DECISION, REASON = "authorization.k8s.io/decision", "authorization.k8s.io/reason"

_encode = msgspec.json.Encoder().encode  # encodes dates as RFC 3339


def encode(value: Any) -> bytes:
    """Return a value as JSON on one line; it never fails on strings that a client sent.

    Header bytes that are not UTF-8 arrive as lone surrogates, which JSON cannot encode, so they become U+FFFD.
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
    uid: str = ""
    resource_version: str = ""


class _Common(Struct, frozen=True, gc=False):
    """The fields common to all lines of a request."""

    kind: str
    apiVersion: str  # noqa: N815 - as on the wire
    level: str
    auditID: str  # noqa: N815 - as on the wire
    requestURI: str  # noqa: N815 - as on the wire
    verb: str
    user: _Person
    sourceIPs: tuple[str, ...]  # noqa: N815 - as on the wire
    userAgent: str  # noqa: N815 - as on the wire
    requestReceivedTimestamp: datetime  # noqa: N815 - as on the wire


class _Own(Struct, frozen=True, gc=False):
    """The fields of one line."""

    stage: str
    stageTimestamp: datetime  # noqa: N815 - as on the wire
    objectRef: _Reference | UnsetType = UNSET  # noqa: N815 - as on the wire
    impersonatedUser: _Person | UnsetType = UNSET  # noqa: N815 - as on the wire
    responseStatus: Any = UNSET  # noqa: N815 - as on the wire
    requestObject: Any = UNSET  # noqa: N815 - as on the wire
    responseObject: Any = UNSET  # noqa: N815 - as on the wire
    annotations: dict[str, str] | UnsetType = UNSET


class Auditor:
    """Begins audit records by a policy and writes them to a log."""

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
        """Begin the record of a request and write its RequestReceived line; None: the policy does not audit it.

        `caller` is the authenticated caller, also of a request that is impersonated later.
        """
        extent = self._policy.extent(caller, attributes)
        if not extent.level:
            return None
        now = self._clock.now()
        common = encode(
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
                now,
            )
        )
        record = AuditRecord(
            common=common[:-1],
            extent=extent,
            attributes=attributes,
            reference=_reference(attributes) if attributes.resource else UNSET,
            lines=self._lines,
            clock=self._clock,
        )
        if RECEIVED not in extent.omitted_stages:
            record.write(_Own(RECEIVED, now, record.reference))
        return record


class AuditRecord(Struct, kw_only=True):
    """The record of one request; each stage that is not omitted becomes a line."""

    common: bytes  # the JSON object common to all lines, without its closing brace
    extent: Extent
    attributes: Attributes
    reference: _Reference | UnsetType
    lines: LineLog
    clock: Clock
    acting_as: Caller | None = None
    sent: Any = UNSET  # the body of the request
    annotations: dict[str, str] = {}  # such as the reason of the authorization

    @property
    def wants_request(self) -> bool:
        """Whether the request's body would be written; check it to avoid encoding one."""
        return self.extent.level >= REQUEST

    @property
    def wants_response(self) -> bool:
        """Whether the response's body would be written."""
        return self.extent.level >= REQUEST_RESPONSE

    def acts_as(self, caller: Caller) -> None:
        """Record the impersonated user."""
        self.acting_as = caller

    def decided(self, reason: str, *, allowed: bool) -> None:
        """Record the decision of authorization as annotations."""
        self.annotations[DECISION] = "allow" if allowed else "forbid"
        self.annotations[REASON] = reason

    def request(self, body: Any) -> None:
        """Record the request's body as it is now, since verbs change it later, and what it says of its object."""
        if self.attributes.verb in NAMING and self.reference is not UNSET:
            self.reference = _named(self.reference, body)
        if self.wants_request:
            self.sent = self._body(encode(body))

    def started(self, code: int) -> None:
        """Write the ResponseStarted line of a long-running request, such as a watch."""
        self._stage(STARTED, _status_of(code))

    def complete(self, code: int, body: bytes | None = None) -> None:
        """Write the ResponseComplete line; `body` is the JSON of the response."""
        response = UNSET if body is None or not self.wants_response else self._body(body)
        status = _status_of(code) if code < ERROR_CODE else self._status(code, body)
        self._stage(COMPLETE, status, response)

    def panic(self) -> None:
        """Write the Panic line: an unexpected exception ended the request."""
        self._stage(PANIC, {"metadata": {}, "status": "Failure", "code": 500})

    def _stage(self, name: str, status: Any, response: Any = UNSET) -> None:
        """Write the line of a stage, unless the policy omits it."""
        if name in self.extent.omitted_stages:
            return
        request = self.sent
        if self.extent.omits_managed_fields:
            request, response = _without_managed_fields(request), _without_managed_fields(response)
        self.write(
            _Own(
                name,
                self.clock.now(),
                self.reference,
                UNSET if self.acting_as is None else _person(self.acting_as),
                status,
                request,
                response,
                self.annotations or UNSET,
            )
        )

    def write(self, own: _Own) -> None:
        """Enqueue a line for the log's thread."""
        # Each garbage collection would scan queued objects, so queue bytes.
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
        if self.attributes.resource != "secrets":  # the message may repeat a value of the request
            fields.append("message")
        status: dict[str, Any] = {"metadata": {}, "code": code}
        return status | {field: told[field] for field in fields if field in told}

    def _body(self, body: bytes) -> Any:
        if len(body) > BODY_BYTES_MAX:
            self.annotations["kubelite.io/body-omitted"] = f"{len(body)} bytes"
            return None
        # A `pretty` body has line breaks, which would split the line, so format it anew.
        return Raw(msgspec.json.format(body, indent=-1) if b"\n" in body else body)


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


def _named(reference: _Reference, body: Any) -> _Reference:
    """Return a reference with what the body of a write says of its object, where the path does not say it."""
    metadata = body.get("metadata") if isinstance(body, dict) else None
    if not isinstance(metadata, dict):
        return reference

    def told(name: str) -> str:
        value = metadata.get(name)
        return value if isinstance(value, str) and len(value) <= NAME_LENGTH_MAX else ""

    return replace(
        reference,
        name=reference.name or told("name"),
        uid=told("uid"),
        resource_version=told("resourceVersion"),
    )


def _without_managed_fields(body: Any) -> Any:
    """Drop the managed fields of an object or of the items of a list."""
    if not isinstance(body, Raw):
        return body
    found = msgspec.json.decode(body)
    for item in [found, *(found.get("items") or [])] if isinstance(found, dict) else []:
        if isinstance(item, dict) and isinstance(item.get("metadata"), dict):
            item["metadata"].pop("managedFields", None)
    return found

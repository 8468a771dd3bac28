"""AdmissionReviews (admission.k8s.io/v1): what a webhook is asked, and what its answer means."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from kubelite.api.auth.caller import Caller
from kubelite.api.errors import APIError, Cause
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.causes import quoted
from kubelite.api.registry.admission.request import AdmissionRequest
from kubelite.api.registry.hooks import NO_OBJECT, ReviewFailed
from kubelite.api.registry.options import DeletionOptions

JSON = dict[str, Any]
GROUP, KIND = "admission.k8s.io", "AdmissionReview"
VERSIONS = ("v1", "v1beta1")
_KNOWN = frozenset(f"{GROUP}/{version}" for version in VERSIONS)
REJECTED_CODE = 400  # if the webhook names none, or one of a success
_INVALID = "received invalid webhook response: "
_CALLED = "failed to call webhook: "


class Meant(Struct, frozen=True):
    """The form in which a webhook wants the objects of a request."""

    kind: GroupVersionKind
    resource: tuple[str, str, str]  # group, version and plural


class Answer(Struct, frozen=True):
    """What a webhook decided."""

    rejection: APIError | None = None
    patch: bytes = b""  # a JSON patch; b"": none
    warnings: Sequence[str] = ()
    annotations: Mapping[str, str] = {}


class Rejected(APIError):
    """A webhook rejected the request, with a status of its own."""

    def __init__(self, status: Mapping[str, Any], message: str) -> None:
        details = status.get("details") or {}
        super().__init__(
            message,
            group=_text(details.get("group")),
            kind=_text(details.get("kind")),
            name=_text(details.get("name")),
            uid=_text(details.get("uid")),
            causes=[
                Cause(_text(one.get("field")), _text(one.get("reason")), _text(one.get("message")))
                for one in details.get("causes") or ()
                if isinstance(one, dict)
            ],
        )
        code = status.get("code")
        is_error = isinstance(code, int) and REJECTED_CODE <= code < 600
        self.code = code if is_error else REJECTED_CODE  # type: ignore[assignment]  # is_error says that it is an int
        self.reason = _text(status.get("reason"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def review_of(
    request: AdmissionRequest,
    meant: Meant,
    uid: str,
    version: str,
    item: JSON | None,
    old: JSON | None,
) -> JSON:
    """Return the review that asks about a request; `item` and `old` are in the form that the webhook wants."""
    body = {"uid": uid, **asked_of(request, meant), "object": item, "oldObject": old}
    return {"kind": KIND, "apiVersion": f"{GROUP}/{version}", "request": body}


def asked_of(request: AdmissionRequest, meant: Meant) -> JSON:
    """Return what is asked about a request, apart from its objects."""
    asked, own = request.attributes, request.resource
    group, resource_version, plural = meant.resource
    body: JSON = {
        "kind": _kind(meant.kind),
        "resource": {"group": group, "version": resource_version, "resource": plural},
        "requestKind": _kind(request.kind),
        "requestResource": {
            "group": asked.group,
            "version": asked.version,
            "resource": asked.resource,
        },
        "operation": request.operation.value,
        "userInfo": _user(request.caller),
        "dryRun": request.dry_run,
        "options": _options(request),
    }
    if asked.subresource:
        body["subResource"] = body["requestSubResource"] = asked.subresource
    if name := asked.name or ((request.object or {}).get("metadata") or {}).get("name"):
        body["name"] = name
    if asked.namespace and (own.namespaced or own.plural == "namespaces"):
        body["namespace"] = asked.namespace
    return body


def _kind(kind: GroupVersionKind) -> JSON:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _user(caller: Caller) -> JSON:
    user: JSON = {"username": caller.user, "groups": list(caller.groups)}
    if caller.uid:
        user["uid"] = caller.uid
    if caller.extra:
        user["extra"] = {name: list(values) for name, values in caller.extra.items()}
    return user


_OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}


def _options(request: AdmissionRequest) -> JSON | None:
    """Return the options as the object that upstream sends, which shows a patch as an update; None: it has none."""
    options = request.options
    kind = _OPTIONS.get(request.operation.value)
    if kind is None:
        return None
    found: JSON = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
    if request.dry_run:
        found["dryRun"] = ["All"]
    if isinstance(options, DeletionOptions):
        if options.grace_seconds is not None:
            found["gracePeriodSeconds"] = options.grace_seconds
        if options.propagation:
            found["propagationPolicy"] = options.propagation
        wanted = {"uid": options.uid, "resourceVersion": options.resource_version}
        if preconditions := {name: value for name, value in wanted.items() if value}:
            found["preconditions"] = preconditions
        return found
    if options.names_manager:
        found["fieldManager"] = options.field_manager
    if options.field_validation:
        found["fieldValidation"] = options.field_validation
    return found


def read_answer(body: bytes, hook: str, uid: str, version: str, *, mutating: bool) -> Answer:
    """Return what a webhook decided; raises ReviewFailed, worded as upstream, for what is no answer."""
    response = _response(body, uid, version)
    patch = _patch(response, mutating=mutating)
    warnings = [one for one in response.get("warnings") or () if isinstance(one, str)]
    annotations = {
        f"{hook}/{name}": text
        for name, text in (response.get("auditAnnotations") or {}).items()
        if isinstance(text, str)
    }
    if response.get("allowed") is True:
        return Answer(None, patch, warnings, annotations)
    status = response.get("status")
    status = status if isinstance(status, dict) else {}
    denied = f"admission webhook {quoted(hook)} denied the request"
    why = _text(status.get("message")) or _text(status.get("reason"))
    message = f"{denied}: {why}" if why else f"{denied} without explanation"
    return Answer(Rejected(status, message), b"", warnings, annotations)


def _response(body: bytes, uid: str, version: str) -> JSON:
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise ReviewFailed(_CALLED + NO_OBJECT) from error
    if not isinstance(answer, dict):
        raise ReviewFailed(_CALLED + NO_OBJECT)
    api_version, kind = answer.get("apiVersion") or "", answer.get("kind") or ""
    expected = f"{GROUP}/{version}"
    if kind == KIND and api_version != expected and api_version in _KNOWN:
        name = api_version.rpartition("/")[2]
        raise ReviewFailed(
            f"{_CALLED}converting ({name}.{KIND}) to ({version}.{KIND}): unknown conversion"
        )
    if (kind or api_version) and (kind != KIND or api_version not in _KNOWN):
        raise ReviewFailed(
            f"{_CALLED}no kind {quoted(str(kind))} is registered for version {quoted(str(api_version))} "
            'in scheme "k8s.io/apiserver/pkg/util/webhook/client.go:71"'
        )
    response = answer.get("response")
    if not isinstance(response, dict):
        raise ReviewFailed(f"{_INVALID}webhook response was absent")
    if version != "v1":  # upstream never checked these answers, and some webhooks rely on it
        return response
    if response.get("uid") != uid:
        got = quoted(_text(response.get("uid")))
        raise ReviewFailed(f"{_INVALID}expected response.uid={quoted(uid)}, got {got}")
    if (api_version, kind) != (expected, KIND):
        got = f"{api_version}, Kind={kind}"
        raise ReviewFailed(
            f"{_INVALID}expected webhook response of {expected}, Kind={KIND}, got {got}"
        )
    return response


def _patch(response: JSON, *, mutating: bool) -> bytes:
    patch, patch_type = response.get("patch"), response.get("patchType")
    if not mutating:
        for name, value in (("patch", patch), ("patchType", patch_type)):
            if value:
                raise ReviewFailed(f"{_INVALID}validating webhook may not return response.{name}")
        return b""
    if not patch:
        if patch_type:
            raise ReviewFailed(
                f"{_INVALID}webhook returned response.patchType but not response.patch"
            )
        return b""
    if not patch_type:
        raise ReviewFailed(f"{_INVALID}webhook returned response.patch but not response.patchType")
    if patch_type != "JSONPatch":
        raise ReviewFailed(f"unsupported patch type {quoted(str(patch_type))}")
    try:
        return base64.b64decode(patch, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise ReviewFailed(f"{_CALLED}illegal base64 data at input byte 0") from error

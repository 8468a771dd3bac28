"""Why the API refuses: each error becomes a `Status` on the wire, worded as Kubernetes words it."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from kubelite.limits import CAUSES, ERROR_MESSAGE


class Cause(Struct, frozen=True):
    """One thing wrong with an object. `reason` is a field value reason such as FieldValueInvalid."""

    path: str
    reason: str
    message: str


class APIError(Exception):
    """An answer that is not a success."""

    code = 500
    reason = "InternalError"
    warnings: Sequence[str] = ()  # that the answer tells beside

    def __init__(
        self,
        message: str,
        *,
        group: str = "",
        kind: str = "",  # the resource or kind named in details
        name: str = "",
        uid: str = "",
        causes: Sequence[Cause] = (),
        retry_after_seconds: int = 0,
        continue_token: str = "",
    ) -> None:
        if len(message) > ERROR_MESSAGE.value:
            ERROR_MESSAGE.reached()
            message = message[: ERROR_MESSAGE.value] + "..."
        super().__init__(message)
        self.message = message
        self.group = group
        self.kind = kind
        self.name = name
        self.uid = uid
        self.causes = tuple(causes[: CAUSES.value + 1])  # the last may say that there are more
        self.retry_after_seconds = retry_after_seconds
        self.continue_token = continue_token  # to go on with an inconsistent list

    def status(self) -> dict[str, Any]:
        """Return the `Status` object as its JSON dict."""
        details: dict[str, Any] = {}
        for field in ("name", "group", "kind", "uid"):
            if value := getattr(self, field):
                details[field] = value
        if self.causes:
            details["causes"] = [_shown(cause) for cause in self.causes]
        if self.retry_after_seconds:
            details["retryAfterSeconds"] = self.retry_after_seconds
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.continue_token} if self.continue_token else {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": details,
            "code": self.code,
        }
        if not self.reason:
            del status["reason"]
        if not details:
            del status["details"]
        return status


def _shown(cause: Cause) -> dict[str, str]:
    members = {"reason": cause.reason, "message": cause.message, "field": cause.path}
    return {name: text for name, text in members.items() if text}


class BadRequest(APIError):
    """The request cannot be understood."""

    code, reason = 400, "BadRequest"


class Unauthorized(APIError):
    """The caller did not prove who they are."""

    code, reason = 401, "Unauthorized"


class Forbidden(APIError):
    """The caller may not do this."""

    code, reason = 403, "Forbidden"


class NotFound(APIError):
    """There is no such object or resource."""

    code, reason = 404, "NotFound"


class PageNotFound(NotFound):
    """No handler serves the path. Over HTTP it is a text, as upstream, and no Status."""


class MethodNotAllowed(APIError):
    """The resource does not know the verb."""

    code, reason = 405, "MethodNotAllowed"


class NotAcceptable(APIError):
    """None of the asked media types can be given."""

    code, reason = 406, "NotAcceptable"


class AlreadyExists(APIError):
    """An object of that name exists."""

    code, reason = 409, "AlreadyExists"


class Conflict(APIError):
    """The object changed meanwhile, or a precondition or field ownership stands against the write."""

    code, reason = 409, "Conflict"


class Expired(APIError):
    """The resource version is too old."""

    code, reason = 410, "Expired"


class RequestEntityTooLarge(APIError):
    """The body is over the limit."""

    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(APIError):
    """The body's media type is not known."""

    code, reason = 415, "UnsupportedMediaType"


class Invalid(APIError):
    """The object breaks rules; `causes` has all of them."""

    code, reason = 422, "Invalid"


class TooManyRequests(APIError):
    """Try again later."""

    code, reason = 429, "TooManyRequests"


class InternalError(APIError):
    """Something broke on this side."""

    code, reason = 500, "InternalError"


def internal_error(problem: str) -> InternalError:
    """Return the error that tells a caller of a problem inside; it is the message of a cause too, as upstream."""
    causes = [Cause("", "", problem)]
    return InternalError(f"Internal error occurred: {problem}", causes=causes)


class PlainError(InternalError):
    """A mistake that the real server finds too deep inside to give it a reason: 500 with a message alone."""

    reason = ""


class ServiceUnavailable(APIError):
    """Not able to answer now."""

    code, reason = 503, "ServiceUnavailable"


class Timeout(APIError):
    """It took too long; what became of the request is not known."""

    code, reason = 504, "Timeout"


BY_REASON: dict[str, type[APIError]] = {error.reason: error for error in APIError.__subclasses__()}


def is_no_answer(error: APIError) -> bool:
    """Return whether an error says nothing of the object: no answer, a server in trouble, a caller not known now."""
    return error.code >= 500 or isinstance(error, TooManyRequests | Unauthorized)


def failure_kind(error: APIError) -> str:
    """Return what failures to log once have in common: all of a server that does not answer are of one kind."""
    return "no answer" if is_no_answer(error) else error.message

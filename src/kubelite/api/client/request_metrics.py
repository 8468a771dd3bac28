"""Counts the requests of this process to API servers, its own included, by the metric of client-go."""

from collections.abc import Callable
from types import TracebackType

from kubelite.api.errors import APIError
from kubelite.metrics import REGISTRY, Value

IN_PROCESS = "in-process"  # the host label of requests within the process
UNANSWERED = "<error>"  # the code label of a request without an answer, as in client-go

requests_total = REGISTRY.counter(
    "rest_client_requests_total",
    "Requests to API servers by status code, method and host.",
    ("code", "method", "host"),
)


class Counted:
    """A reentrant context that counts one request to the process's own API by its result."""

    __slots__ = ("_method", "_succeeded")

    def __init__(self, method: str, success_code: int = 200) -> None:
        self._method = method
        self._succeeded: Value = requests_total.labelled(str(success_code), method, IN_PROCESS)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._succeeded.value += 1
        else:
            code = str(error.code) if isinstance(error, APIError) else UNANSWERED
            requests_total.labelled(code, self._method, IN_PROCESS).value += 1


def counter_of(host: str) -> Callable[[str, str], None]:
    """Return a function that counts a request to `host`: (method, status code or UNANSWERED)."""

    def count(method: str, code: str) -> None:
        requests_total.labelled(code, method, host).value += 1

    return count

"""A server of metrics behind the API, which answers from a function."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from kubelite.api.auth.caller import Caller
from kubelite.api.errors import NotFound

GROUPS = ("metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io")


class FakeMetrics:
    """Implements `Delegated`. `answer(path, parameters)` returns a JSON value, or raises an APIError."""

    def __init__(self) -> None:
        self.groups = set(GROUPS)
        self.asked: list[tuple[str, str]] = []  # user and path
        self.pages: dict[str, Any] = {}
        self.answer: Callable[[str, Mapping[str, str]], Any] = self._page

    def serves(self, group: str, version: str) -> bool:
        return group in self.groups

    async def read(self, group: str, version: str, path: str, caller: Caller) -> bytes:
        self.asked.append((caller.user, path))
        bare, _, query = path.partition("?")
        return msgspec.json.encode(self.answer(unquote(bare), dict(parse_qsl(query))))

    def _page(self, path: str, parameters: Mapping[str, str]) -> Any:
        del parameters
        if path not in self.pages:
            raise NotFound("the server could not find the requested resource")
        return self.pages[path]


def pod_metrics(name: str, *, at: str, **usage: str) -> dict[str, Any]:
    """Return the metrics of a pod with one container."""
    return {
        "metadata": {"name": name, "namespace": "default"},
        "timestamp": at,
        "window": "15s",
        "containers": [{"name": "c", "usage": usage}],
    }

"""Non-resource paths: health, version, metrics, discovery, OpenAPI, and the index of all paths."""

import asyncio
import platform
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from kubelite.api.http import metrics
from kubelite.api.http.discovery import Discovery
from kubelite.api.http.dispatch import Asked
from kubelite.api.http.health import HEALTH_REGISTRY, Check, Health
from kubelite.api.http.respond import Reply
from kubelite.api.registry.routes import not_allowed, not_found
from kubelite.metrics import REGISTRY, Registry, exposition, exposition_cost
from kubelite.offload import Offload

MAJOR, MINOR = "1", "36"
GIT_VERSION = "v1.36.2+kubelite"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SLIS = "/metrics/slis"
SAMPLES_A_STEP = 8  # metrics that are sampled in one turn of the loop
MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}

ServePage = Callable[[Asked], Awaitable[Reply]]
READING_METHODS = ("GET", "HEAD")


class Pages:
    """Routes non-resource paths to their handlers."""

    def __init__(
        self,
        discovery: Discovery,
        *,
        offload: Offload,
        live: Mapping[str, Check],
        ready: Mapping[str, Check],
        more: Mapping[str, ServePage] | None = None,
    ) -> None:
        self._discovery = discovery
        self._offload = offload
        self._health = {
            "healthz": Health("healthz", live),
            "livez": Health("livez", live),
            "readyz": Health("readyz", {**live, **ready}),
        }
        self._pages: dict[str, ServePage] = {
            "/": self._index,
            "/version": self._version,
            "/metrics": self._metrics,
            SLIS: self._slis,
        }
        for name in self._health:
            self._pages[f"/{name}"] = self._healthy
        self._pages |= more or {}

    def find(self, path: str) -> ServePage | None:
        """Return the handler of a path, or None."""
        if len(path) > 1:
            path = path.rstrip("/")
        if (page := self._pages.get(path)) is not None:
            return page
        first = path.strip("/").partition("/")[0]
        if first in ("api", "apis"):
            return self._discover
        if first in self._health:
            return self._healthy
        prefix, _, _ = path.rpartition("/")
        while prefix:
            if (page := self._pages.get(prefix + "/*")) is not None:
                return page
            prefix, _, _ = prefix.rpartition("/")
        return None

    async def _discover(self, asked: Asked) -> Reply:
        path, headers = asked.attributes.path, asked.request.headers
        if not self._discovery.is_custom(path):
            _reading(asked)
        accept = headers.get("Accept", "")
        await self._discovery.prepare(path, accept)
        reply = self._discovery.answer(path, accept, headers.get("If-None-Match", ""))
        if reply is None:
            raise not_found()
        return reply

    async def _healthy(self, asked: Asked) -> Reply:
        _reading(asked)
        name, _, check = asked.attributes.path.strip("/").partition("/")
        health = self._health[name]
        return health.answer_one(check) if check else health.answer(asked.query)

    async def _version(self, asked: Asked) -> Reply:
        _reading(asked)
        return Reply(body=version_body())

    async def _metrics(self, asked: Asked) -> Reply:
        _reading(asked)
        return await self._exposition(REGISTRY)

    async def _slis(self, asked: Asked) -> Reply:
        _reading(asked)
        return await self._exposition(HEALTH_REGISTRY)

    async def _exposition(self, registry: Registry) -> Reply:
        """Sample the metrics on the loop, in steps, and format them in the offload."""
        samples = []
        for number, metric in enumerate(registry.metrics(), 1):
            samples.append(metric.sample())
            if number % SAMPLES_A_STEP == 0:
                await asyncio.sleep(0)
        body = await self._offload.run(
            exposition_cost(samples), lambda: exposition(samples).encode()
        )
        return Reply(body=body, content_type=METRICS_TYPE)

    async def _index(self, asked: Asked) -> Reply:
        _reading(asked)
        paths = ["/api", "/apis", *(path for path in self._pages if not path.endswith("/*"))]
        return Reply(body=msgspec.json.format(msgspec.json.encode({"paths": sorted(paths)})))


def version() -> dict[str, str]:
    """Return the Kubernetes version info that clients parse."""
    machine = platform.machine()
    return {
        "major": MAJOR,
        "minor": MINOR,
        "emulationMajor": MAJOR,
        "emulationMinor": MINOR,
        "minCompatibilityMajor": MAJOR,
        "minCompatibilityMinor": MINOR,
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "python" + platform.python_version(),
        "platform": f"linux/{MACHINES.get(machine, machine)}",
    }


def version_body() -> bytes:
    """Return the document of /version: indented JSON."""
    return msgspec.json.format(msgspec.json.encode(version()))


def _show_build() -> None:
    known = version()
    names = ("major", "minor", "gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion")
    values = (*(known[name] for name in names), known["compiler"], known["platform"])
    metrics.build_info.labelled(*values).value = 1


_show_build()


def _reading(asked: Asked) -> None:
    if asked.request.method not in READING_METHODS:
        raise not_allowed()

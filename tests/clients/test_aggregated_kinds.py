"""What kubectl shows of kinds that another API server answers for."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from fakes.aggregated import Aggregator, OtherServer, aggregating, api_service

from kubelite.api.http.delegation import ServiceKey

GROUP = "things.example.com"
PAGE = f"/apis/{GROUP}/v1"
THING = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "Thing",
    "metadata": {"name": "one", "namespace": "default"},
}
SPEC = {
    "swagger": "2.0",
    "paths": {
        f"{PAGE}/namespaces/{{namespace}}/things": {
            "get": {
                "responses": {
                    "200": {"description": "OK", "schema": {"$ref": "#/definitions/Thing"}}
                },
                "x-kubernetes-group-version-kind": {
                    "group": GROUP,
                    "version": "v1",
                    "kind": "Thing",
                },
            }
        }
    },
    "definitions": {
        "Thing": {
            "type": "object",
            "description": "A thing of the other server.",
            "properties": {"spec": {"type": "string", "description": "What it is for."}},
            "x-kubernetes-group-version-kind": [{"group": GROUP, "version": "v1", "kind": "Thing"}],
        }
    },
}
Run = Callable[..., Awaitable[str]]


class Things(OtherServer):
    """Serves one thing, by the legacy discovery and OpenAPI version 2 alone."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        verbs = ["create", "get", "list", "watch"]
        resource = {"name": "things", "singularName": "thing", "namespaced": True, "kind": "Thing"}
        self.pages = {
            PAGE: {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{GROUP}/v1",
                "resources": [{**resource, "verbs": verbs, "shortNames": ["th"]}],
            },
            "/openapi/v2": SPEC,
            f"{PAGE}/namespaces/default/things/one": THING,
            f"{PAGE}/namespaces/default/things": {
                "apiVersion": f"{GROUP}/v1",
                "kind": "ThingList",
                "metadata": {"resourceVersion": "7"},
                "items": [THING],
            },
        }
        self.answer = self.thing

    async def thing(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer; a watch has one event."""
        if "watch" not in request.query:
            return await self.page(request)
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        await answer.write(msgspec.json.encode({"type": "ADDED", "object": THING}) + b"\n")
        return answer


@asynccontextmanager
async def clients(folder: Path, *registered: Any) -> AsyncIterator[tuple[Run, Aggregator]]:
    """Run kubectl in front of an API server that delegates."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("there is no kubectl")
    other = Things(folder / "pki")

    async with (
        other.served(),
        aggregating(other, api_service(caBundle=other.bundle), *registered) as front,
    ):

        async def kubectl(*arguments: str) -> str:
            process = await asyncio.create_subprocess_exec(
                *(program, "--server", f"http://127.0.0.1:{front.port}", *arguments),
                env={**os.environ, "KUBECONFIG": "/dev/null", "HOME": str(folder)},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
            return output.decode()

        assert not await front.delegation.opened().discovery.refresh(ServiceKey("shop", "agg", 443))
        yield kubectl, front


async def test_kinds_of_another_server_are_like_all_others(tmp_path: Path) -> None:
    async with clients(tmp_path) as (kubectl, _):
        listed = await kubectl("api-resources", "--api-group", GROUP, "--no-headers")
        assert listed.split() == ["things", "th", f"{GROUP}/v1", "true", "Thing"]
        assert "one" in await kubectl("get", "th")
        assert "one" in await kubectl("get", "things.v1.things.example.com", "one", "-o", "name")
        assert "one" in await kubectl("get", "things", "--watch-only", "--request-timeout=5s")
        explained = await kubectl("explain", "things.spec")
        assert "What it is for." in explained


async def test_a_server_that_is_down_does_not_hold_up_the_others(tmp_path: Path) -> None:
    down = api_service("down.example.com", is_available=False)
    async with clients(tmp_path, down) as (kubectl, front):
        listed = await kubectl("api-resources")
        assert "deployments" in listed
        assert "things" in listed
        assert (await front.get("/apis/down.example.com/v1/x"))[0] == 503

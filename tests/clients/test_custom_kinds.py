"""What kubectl shows of custom kinds, from discovery and OpenAPI alone."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.custom_resources import custom_resource
from fakes.server import Server
from fakes.serving import parts_of, serving

SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "A cat of the house.",
    "properties": {
        "spec": {
            "type": "object",
            "description": "What is wanted of the cat.",
            "required": ["color"],
            "properties": {
                "color": {
                    "type": "string",
                    "description": "The hue of its fur.",
                    "enum": ["black", "red"],
                },
                "friends": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"name": {"type": "string", "description": "Who it is."}},
                    },
                },
                "weight": {"x-kubernetes-int-or-string": True, "description": "In grams."},
                "rest": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        }
    },
}
Run = Callable[..., Awaitable[str]]


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    """Runs kubectl against a server of custom kinds; returns what it printed."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("there is no kubectl")
    server = Server()
    names: Any = {"short_names": ("mieze",), "categories": ("pets",)}
    versions = (
        custom_resource("cats", schema=SCHEMA, version=version, **names)
        for version in ("v1", "v1beta1")
    )
    server.resources.replace("example.com", versions)
    async with serving(parts_of(server.verbs)) as (_, port):

        async def kubectl(*arguments: str) -> str:
            process = await asyncio.create_subprocess_exec(
                *(program, "--server", f"http://127.0.0.1:{port}", *arguments),
                env={**os.environ, "KUBECONFIG": "/dev/null", "HOME": str(tmp_path)},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
            assert process.returncode == 0, output.decode()
            return output.decode()

        yield kubectl


async def test_explain_shows_kinds_and_fields(run: Run) -> None:
    shown = await run("explain", "mieze")
    assert "VERSION:    v1\n" in shown
    assert "A cat of the house." in shown
    color = await run("explain", "cats.spec.color")
    assert "The hue of its fur." in color
    assert color.partition("ENUM:")[2].split()[:2] == ["black", "red"]
    assert "Who it is." in await run("explain", "cats.spec.friends.name")
    assert "-required-" in await run("explain", "cats.spec")
    whole = await run("explain", "cats", "--recursive", "--api-version=example.com/v1beta1")
    assert {"friends", "name", "weight", "rest", "metadata", "ownerReferences"} <= set(
        whole.replace("\t", " ").split()
    )


async def test_explain_from_version_2(run: Run) -> None:
    shown = await run("explain", "cats.spec", "--output=plaintext-openapiv2")
    assert "What is wanted of the cat." in shown
    assert {"color", "friends", "weight", "rest"} <= set(shown.replace("\t", " ").split())


async def test_resources_are_listed_by_their_names_and_categories(run: Run) -> None:
    (row,) = (await run("api-resources", "--api-group=example.com", "--no-headers")).splitlines()
    assert row.split() == ["cats", "mieze", "example.com/v1", "true", "Cat"]
    assert await run("api-resources", "--categories=pets", "-o", "name") == "cats.example.com\n"
    versions = (await run("api-versions")).split()
    assert versions.index("example.com/v1") + 1 == versions.index("example.com/v1beta1")

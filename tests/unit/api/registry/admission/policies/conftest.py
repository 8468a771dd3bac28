"""The server of the tests of policies."""

import pytest
from fakes.policed import Policed


@pytest.fixture
async def server() -> Policed:
    made = Policed()
    labels = {"team": "blue"}
    await made.create("v1/namespaces", {"metadata": {"name": "default", "labels": labels}})
    return made

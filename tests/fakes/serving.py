"""An API server on a loopback port, with doors that are open to everybody."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ssl import SSLContext

from kubelite.api.auth.caller import (
    Allowed,
    Attributes,
    Authenticator,
    Authorizer,
    Caller,
    Credentials,
)
from kubelite.api.errors import Unauthorized
from kubelite.api.http.app import APIServer
from kubelite.api.http.delegation import Delegation
from kubelite.api.http.discovery import Discovery
from kubelite.api.http.dispatch import Flow, Parts, Stream
from kubelite.api.http.openapi import OpenAPIPages
from kubelite.api.http.pages import Pages, ServePage
from kubelite.api.registry.verbs import Verbs
from kubelite.clock import SystemClock
from kubelite.limits import API_CONNECTIONS
from kubelite.randomness import SeededRandomness
from kubelite.serving.table import ConnectionTable


class EverybodyIsAdmin:
    """Takes every caller for the administrator, but the one with the token ``bad``."""

    async def authenticate(self, credentials: Credentials) -> Caller:
        if credentials.bearer_token == "bad":
            raise Unauthorized("Unauthorized")
        return Caller(user="admin", groups=("system:masters", "system:authenticated"))


class AllowEverything:
    """Allows everything."""

    def authorize(self, caller: Caller, attributes: Attributes) -> Allowed:
        return Allowed(caller, attributes)


def parts_of(
    verbs: Verbs,
    *,
    authenticator: Authenticator | None = None,
    authorizer: Authorizer | None = None,
    streams: Mapping[tuple[str, str], Stream] | None = None,
    flow: Flow | None = None,
    more_pages: Mapping[str, ServePage] | None = None,
    delegation: Delegation | None = None,
) -> Parts:
    """Return the parts of a server over `verbs`."""
    return Parts(
        verbs=verbs,
        authenticator=authenticator or EverybodyIsAdmin(),
        authorizer=authorizer or AllowEverything(),
        clock=SystemClock(),
        randomness=SeededRandomness(1),
        pages=Pages(
            Discovery(verbs.resources, lambda: "127.0.0.1:6443", verbs.offload, delegation),
            offload=verbs.offload,
            live={},
            ready={},
            more={
                **OpenAPIPages(
                    verbs.resources, offload=verbs.offload, delegation=delegation
                ).pages(),
                **(more_pages or {}),
            },
        ),
        streams=streams or {},
        flow=flow,
        delegation=delegation or Delegation(),
    )


@asynccontextmanager
async def serving(
    parts: Parts, *, ssl_context: SSLContext | None = None, connections_max: int = 100
) -> AsyncIterator[tuple[APIServer, int]]:
    """Run a server; yields it and its port."""
    table = ConnectionTable(
        API_CONNECTIONS, connections_max * 2, kept=0
    )  # half of them for loopback
    server = APIServer(parts, ssl_context=ssl_context, connections=table)
    port = await server.start("127.0.0.1", 0)
    try:
        yield server, port
    finally:
        await server.stop(0.1)

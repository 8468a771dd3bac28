"""What a command asks the API of a cluster: whether it answers, and whether its nodes are Ready. Blocks.

The standard library's client is enough for two questions, and is imported in a tenth of the time.
"""

import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kubelite.api.client.kubeconfig import KubeconfigInvalid, read_kubeconfig

LOOK_SECONDS = 0.01
ANSWER_SECONDS = 10.0

Nodes = dict[str, dict[str, Any]]


class NotReady(Exception):
    """A cluster is not ready in time, or its server has ended; the message says what is missing."""


class Api:
    """The API of one cluster."""

    def __init__(self, kubeconfig: Path, address: str) -> None:
        """`address` is the URL at which this machine reaches it. Raises KubeconfigInvalid."""
        access = read_kubeconfig(kubeconfig)
        url = urlsplit(address)
        self._host, self._port = url.hostname or "", url.port or 443
        self._tls = access.ssl_context

    def answers(self) -> bool:
        """Return whether the API is ready."""
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            self._asked("/readyz", 2.0) as said,
        ):
            return said.status == 200
        return False

    def nodes(self, deadline: float) -> Iterator[Nodes]:
        """Yield the nodes by name, now and after each change, until a moment of `time.monotonic`. Raises OSError."""
        with self._asked("/api/v1/nodes", ANSWER_SECONDS) as said:
            listed = json.load(said)
        nodes: Nodes = {item["metadata"]["name"]: item for item in listed["items"]}
        yield nodes
        since = listed["metadata"]["resourceVersion"]
        path = f"/api/v1/nodes?watch=true&resourceVersion={since}"
        with self._asked(path, max(deadline - time.monotonic(), 0.01)) as said:
            while line := said.readline():
                change = json.loads(line)
                if change["type"] == "ERROR":
                    return
                name = change["object"]["metadata"]["name"]
                nodes[name] = change["object"]
                if change["type"] == "DELETED":
                    del nodes[name]
                yield nodes

    @contextlib.contextmanager
    def _asked(self, path: str, timeout_seconds: float) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPSConnection(
            self._host, self._port, context=self._tls, timeout=timeout_seconds
        )
        try:
            connection.request("GET", path)
            yield connection.getresponse()
        finally:
            connection.close()


def until_answers(
    kubeconfig: Path, address: str, is_alive: Callable[[], bool], timeout_seconds: float
) -> Api:
    """Wait until the API of a server answers, which writes the kubeconfig before. Raises NotReady."""
    deadline = time.monotonic() + timeout_seconds
    api: Api | None = None
    while True:
        with contextlib.suppress(KubeconfigInvalid):
            if api is None and kubeconfig.exists():
                api = Api(kubeconfig, address)
            if api is not None and api.answers():
                return api
        if not is_alive():
            raise NotReady("its server has ended")
        if time.monotonic() > deadline:
            raise NotReady(f"its API does not answer after {timeout_seconds:g} s")
        time.sleep(LOOK_SECONDS)  # nothing tells when another process listens


def until_ready(api: Api, names: frozenset[str], number: int, timeout_seconds: float) -> None:
    """Wait until the nodes `names`, and `number` in all, are Ready. Raises NotReady, which says what is missing."""
    deadline = time.monotonic() + timeout_seconds
    seen: Nodes = {}
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            for seen in api.nodes(deadline):
                ready = {name for name, node in seen.items() if ready_problem(node) == ""}
                if names <= ready and len(ready) >= number:
                    return
                if time.monotonic() > deadline:
                    break
    raise NotReady(f"after {timeout_seconds:g} s {missing(names, number, seen)}")


def missing(names: frozenset[str], number: int, nodes: Nodes) -> str:
    """Return which nodes are not Ready, and why."""
    problems = [f"node {name} has not registered" for name in sorted(names - nodes.keys())]
    problems += [
        f"node {name} is not ready: {problem}"
        for name, node in sorted(nodes.items())
        if (problem := ready_problem(node))
    ]
    if not problems:
        problems = [f"{len(nodes)} of {number} nodes have registered"]
    more = len(problems) - 3
    return "; ".join(problems[:3]) + (f"; and {more} more" if more > 0 else "")


def ready_problem(node: dict[str, Any]) -> str:
    """Return why a node is not Ready, "" if it is."""
    for condition in node.get("status", {}).get("conditions", []):
        if condition["type"] == "Ready":
            return (
                ""
                if condition["status"] == "True"
                else str(condition.get("message") or "no reason is given")
            )
    return "it has told nothing yet"

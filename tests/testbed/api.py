"""The cluster's API as a test sees it: over HTTPS, from within a host's network, with the administrator's certificate.

A wait is a list and a watch, so what it waits for is seen when it happens, and costs neither a process nor a poll.
"""

import base64
import ctypes
import http.client
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import yaml

T = TypeVar("T")
Object = dict[str, Any]

CLONE_NEWNET = 0x40000000
REQUEST_SECONDS = 20.0
RETRY_SECONDS = 0.05
NODES, PODS, EVENTS = "/api/v1/nodes", "/api/v1/pods", "/api/v1/events"
EVENTS_SHOWN = 25


class ApiFailure(Exception):
    """The API answered a request with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Unreachable(Exception):
    """No connection, or one that broke."""


class Api:
    """A client of one server. Blocking, one connection a request."""

    def __init__(self, pid: int, kubeconfig: Path) -> None:
        """Connect from the network namespace of process `pid`; `kubeconfig` is read now."""
        self._pid = pid
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        url = urlsplit(cluster["server"])
        self._host, self._port = url.hostname or "", url.port or 443
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        # Without VERIFY_X509_STRICT, as kubectl checks it.
        pair = kubeconfig.with_name("admin.pem")
        parts = (user["client-certificate-data"], user["client-key-data"])
        pair.write_bytes(b"\n".join(map(base64.b64decode, parts)))
        self._tls.load_cert_chain(pair)

    def request(
        self, method: str, path: str, body: object = None, kind: str = "application/json"
    ) -> Any:
        """Return the decoded answer. Raises ApiFailure and Unreachable."""
        connection = self._connect(REQUEST_SECONDS)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": kind})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise ApiFailure(answer.status, content.decode(errors="replace"))
        is_json = "json" in answer.getheader("Content-Type", "")
        return json.loads(content) if is_json else content.decode()

    def get(self, path: str) -> Any:
        """Return an object, a list or a text."""
        return self.request("GET", path)

    def items(self, path: str, **query: str) -> list[Object]:
        """Return the items of a list."""
        return list(self.get(_with(path, query))["items"])

    def until(
        self,
        path: str,
        look: Callable[[list[Object]], T | None],
        what: str,
        timeout_seconds: float = 60,
        **query: str,
    ) -> T:
        """Return the first true answer of `look` to the items of a list, which it is given after each change.

        Raises TimeoutError with what the cluster looks like instead. A server that is away is waited for.
        """
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            try:
                for items in self._views(path, query, deadline):
                    if answer := look(items):
                        return answer
            except Unreachable:
                time.sleep(RETRY_SECONDS)
            except ApiFailure as error:
                if error.code not in (410, 429, 500, 503):
                    raise
                time.sleep(RETRY_SECONDS)
        raise TimeoutError(f"no {what} within {timeout_seconds} s:\n{self.describe()}")

    def _views(self, path: str, query: dict[str, str], deadline: float) -> Iterator[list[Object]]:
        """Yield the items of a list now and after each change, until the watch ends."""
        listed = self.get(_with(path, query))
        items = {item["metadata"]["uid"]: item for item in listed["items"]}
        yield list(items.values())
        since = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
        for change in self._watch(_with(path, {**query, **since}), deadline):
            if change["type"] == "ERROR":
                return  # too old: list again
            changed = change["object"]
            if change["type"] == "DELETED":
                items.pop(changed["metadata"]["uid"], None)
            else:
                items[changed["metadata"]["uid"]] = changed
            yield list(items.values())

    def _watch(self, path: str, deadline: float) -> Iterator[Object]:
        connection = self._connect(max(0.1, deadline - time.monotonic()))
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise ApiFailure(answer.status, answer.read().decode(errors="replace"))
            while line := answer.readline():
                yield json.loads(line)
                if time.monotonic() > deadline:
                    return
        except TimeoutError:
            return
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"watch {path}: {error!r}") from error
        finally:
            connection.close()

    def describe(self) -> str:
        """Return the nodes, the pods and the newest events, one a line."""
        try:
            nodes, pods = self.items(NODES), self.items(PODS)
            events = sorted(self.items(EVENTS), key=_last_seen)[-EVENTS_SHOWN:]
        except (Unreachable, ApiFailure) as error:
            return f"the server does not answer: {error}"
        lines = [*map(node_line, nodes), *map(pod_line, pods), *map(event_line, events)]
        return "\n".join(lines)

    def _connect(self, timeout_seconds: float) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(self._host, self._port, context=self._tls)
        try:
            plain = connect_from(self._pid, self._host, self._port, timeout_seconds)
        except OSError as error:
            raise Unreachable(f"cannot connect: {error}") from error
        try:
            connection.sock = self._tls.wrap_socket(plain, server_hostname=self._host)
        except OSError as error:
            plain.close()
            raise Unreachable(f"cannot connect: {error}") from error
        return connection


def connect_from(pid: int, host: str, port: int, timeout_seconds: float) -> socket.socket:
    """Connect from the network namespace of a process. Raises OSError."""
    results: list[socket.socket | OSError] = []

    def connect() -> None:
        try:
            with Path(f"/proc/{pid}/ns/net").open("rb") as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            results.append(socket.create_connection((host, port), timeout_seconds))
        except OSError as error:
            results.append(error)

    # A namespace is entered by a thread, so a thread that ends need not come back from it.
    thread = threading.Thread(target=connect)
    thread.start()
    thread.join()
    if isinstance(results[0], OSError):
        raise results[0]
    return results[0]


def condition(item: Object, kind: str) -> str:
    """Return the status of a condition: True, False, Unknown, or empty if there is none."""
    conditions = item.get("status", {}).get("conditions", [])
    return next((str(one["status"]) for one in conditions if one["type"] == kind), "")


def is_ready(item: Object) -> bool:
    """Return whether a node or a pod is Ready."""
    return condition(item, "Ready") == "True"


def is_going(item: Object) -> bool:
    """Return whether an object is being deleted."""
    return "deletionTimestamp" in item["metadata"]


def name_of(item: Object) -> str:
    """Return an object's name."""
    return str(item["metadata"]["name"])


def node_line(node: Object) -> str:
    """Describe a node in a line."""
    conditions = [
        f"{one['type']}={one['status']}({one.get('reason', '')}: {one.get('message', '')})"
        for one in node.get("status", {}).get("conditions", [])
        if (one["type"] == "Ready") != (one["status"] == "True")
    ]
    taints = [f"{one['key']}:{one['effect']}" for one in node["spec"].get("taints", [])]
    addresses = [one["address"] for one in node.get("status", {}).get("addresses", [])]
    ready = "Ready" if is_ready(node) else "not ready"
    return f"node {name_of(node)} {ready} {addresses} {conditions} taints {taints}"


def pod_line(pod: Object) -> str:
    """Describe a pod in a line."""
    status = pod.get("status", {})
    states = [
        f"{one['name']} {json.dumps(one.get('state', {}))[:200]} restarts {one['restartCount']}"
        for one in status.get("containerStatuses", [])
    ]
    going = " going" if is_going(pod) else ""
    ready = "Ready" if is_ready(pod) else "not ready"
    where = pod["spec"].get("nodeName", "no node")
    name = f"{pod['metadata']['namespace']}/{name_of(pod)}"
    return f"pod {name} on {where}: {status.get('phase')} {ready}{going} {states}"


def event_line(event: Object) -> str:
    """Describe an event in a line."""
    about = event.get("involvedObject", {})
    subject = f"{about.get('kind')} {about.get('name')}"
    return f"event {_last_seen(event)} {subject}: {event.get('reason')} {event.get('message')}"


def _last_seen(event: Object) -> str:
    dates = (
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    )
    return next((str(date) for date in dates if date), "")


def _with(path: str, query: dict[str, str]) -> str:
    return f"{path}?{urlencode(query, quote_via=quote)}" if query else path

"""Logs, exec, attach and port-forward of pods: passed on to the pod's node, as Kubernetes passes them to a kubelet."""

import asyncio
import base64
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote, urlencode

from msgspec.structs import replace

from kubelite.api.auth.caller import Allowed, Authorizer
from kubelite.api.errors import (
    APIError,
    BadRequest,
    Cause,
    Invalid,
    NotFound,
    ServiceUnavailable,
    internal_error,
)
from kubelite.api.http.backends import Backends, not_scheduled
from kubelite.api.http.dispatch import Asked
from kubelite.api.http.query import integer, text
from kubelite.api.http.relay import Answered, Relay, body_parts, close, is_upgrade, take_over
from kubelite.api.http.request import Query, flag
from kubelite.api.http.respond import CACHE_CONTROL, Reply
from kubelite.api.http.websocket import (
    BASE64_PROTOCOL,
    BINARY,
    NORMAL_CLOSE,
    TEXT,
    chosen_protocol,
    frame,
    handshake,
    is_websocket,
)
from kubelite.api.http.wire import Disconnected, Sent, transport_of
from kubelite.api.registry.routes import not_allowed
from kubelite.limits import BACKEND_PAGE_SECONDS

ERROR_BYTES_MAX = 64 * 1024
LOG_STREAMS = ("All", "Stdout", "Stderr")
KUBELET_FLAGS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}


class PodLog:
    """Serves pods/log."""

    def __init__(self, backends: Backends, relay: Relay) -> None:
        self._backends = backends
        self._relay = relay

    async def serve(self, asked: Asked, allowed: Allowed) -> Sent | Reply:
        """Pass the log through as it is written; raises APIError."""
        attributes = allowed.attributes
        if attributes.verb != "get":
            raise not_allowed()
        parameters = log_parameters(asked.query, attributes.name)
        pod = await self._backends.pod(attributes.namespace, attributes.name)
        container = chosen_container(pod, text(asked.query, "container"))
        node = (pod.get("spec") or {}).get("nodeName", "")
        if not node:
            return Reply(body=b"", status=204)
        backend = await self._backends.node(node)
        path = quote(f"/containerLogs/{attributes.namespace}/{attributes.name}/{container}")
        target = f"{path}?{urlencode(parameters)}" if parameters else path
        answered = await self._relay.ask(asked.request, backend, target)
        if not 200 <= answered.head.status <= 206:
            raise await _refusal(answered, attributes.name)
        if is_websocket(asked.request):
            return await _log_over_websocket(asked, answered)
        headers = [
            ("Content-Type", "text/plain"),
            ("Cache-Control", CACHE_CONTROL),
            *asked.headers,
        ]
        return await self._relay.pass_through(asked.request, answered, headers)


class PodStream:
    """Serves pods/exec, pods/attach and pods/portforward."""

    def __init__(
        self,
        backends: Backends,
        relay: Relay,
        authorizer: Authorizer,
        kind: Literal["exec", "attach", "portForward"],
    ) -> None:
        self._backends = backends
        self._relay = relay
        self._authorizer = authorizer
        self._kind = kind

    async def serve(self, asked: Asked, allowed: Allowed) -> Sent | Reply:
        """Relay the handshake to the node and splice; raises APIError."""
        attributes = allowed.attributes
        if attributes.verb not in ("get", "create"):
            raise not_allowed()
        if attributes.verb == "get" and is_upgrade(asked.request):
            # A WebSocket can only be opened by GET: reading must not be enough to run a command.
            self._authorizer.authorize(allowed.caller, replace(attributes, verb="create"))
        pod = await self._backends.pod(attributes.namespace, attributes.name)
        place = f"{attributes.namespace}/{attributes.name}"
        if self._kind == "portForward":
            parameters = [("port", port) for port in asked.query.get("ports", ())]
        else:
            place += "/" + chosen_container(pod, text(asked.query, "container"))
            parameters = stream_parameters(asked.query, with_command=self._kind == "exec")
        node = (pod.get("spec") or {}).get("nodeName", "")
        if not node:
            raise not_scheduled(attributes.name)
        path = quote(f"/{self._kind}/{place}")
        target = f"{path}?{urlencode(parameters)}" if parameters else path
        return await self._relay.upgrade(asked.request, await self._backends.node(node), target)


def log_parameters(query: Query, name: str) -> list[tuple[str, str]]:
    """Return the parameters of a log request for a node; raises BadRequest, and Invalid with all causes."""
    parameters = [
        (option, "true") for option in ("follow", "previous", "timestamps") if flag(query, option)
    ]
    numbers = {
        option: integer(query, option) for option in ("sinceSeconds", "tailLines", "limitBytes")
    }
    since_time = text(query, "sinceTime")
    stream = text(query, "stream") or "All"
    causes = list(_log_causes(numbers, since_time, stream))
    if causes:
        shown = [f"{cause.path}: {cause.message}" for cause in causes]
        summary = shown[0] if len(shown) == 1 else "[" + ", ".join(shown) + "]"
        raise Invalid(
            f'PodLogOptions "{name}" is invalid: {summary}',
            kind="PodLogOptions",
            name=name,
            causes=causes,
        )
    parameters += [(option, str(value)) for option, value in numbers.items() if value is not None]
    if since_time:
        parameters.append(("sinceTime", since_time))
    if stream != "All":
        parameters.append(("stream", stream))
    return parameters


def _log_causes(numbers: Mapping[str, int | None], since_time: str, stream: str) -> list[Cause]:
    causes = []
    tail, limit, since = numbers["tailLines"], numbers["limitBytes"], numbers["sinceSeconds"]
    if tail is not None and tail < 0:
        causes.append(_invalid("tailLines", tail, "must be greater than or equal to 0"))
    if limit is not None and limit < 1:
        causes.append(_invalid("limitBytes", limit, "must be greater than 0"))
    if since is not None and since_time:
        message = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
        causes.append(Cause("", "FieldValueForbidden", message))
    elif since is not None and since < 1:
        causes.append(_invalid("sinceSeconds", since, "must be greater than 0"))
    if stream not in LOG_STREAMS:
        supported = ", ".join(f'"{one}"' for one in LOG_STREAMS)
        message = f'Unsupported value: "{stream}": supported values: {supported}'
        causes.append(Cause("stream", "FieldValueNotSupported", message))
    elif stream != "All" and tail is not None:
        message = "Forbidden: `tailLines` and specific `stream` are mutually exclusive for now"
        causes.append(Cause("", "FieldValueForbidden", message))
    return causes


def _invalid(path: str, value: int, detail: str) -> Cause:
    return Cause(path, "FieldValueInvalid", f"Invalid value: {value}: {detail}")


def stream_parameters(query: Query, *, with_command: bool) -> list[tuple[str, str]]:
    """Return the parameters of an exec or attach for a node."""
    parameters = [
        (kubelet, "1") for option, kubelet in KUBELET_FLAGS.items() if flag(query, option)
    ]
    if with_command:
        parameters += [("command", word) for word in query.get("command", ())]
    return parameters


def chosen_container(pod: dict[str, Any], wanted: str) -> str:
    """Return the container asked for, or the only one; raises BadRequest."""
    spec = pod.get("spec") or {}
    name = pod["metadata"]["name"]
    containers = [one["name"] for one in spec.get("containers") or []]
    every = [one["name"] for one in spec.get("initContainers") or []]
    every += containers
    every += [one["name"] for one in spec.get("ephemeralContainers") or []]
    if wanted:
        if wanted not in every:
            raise BadRequest(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(containers) == 1:
        return str(containers[0])
    if not containers:
        raise BadRequest(f"a container name must be specified for pod {name}")
    raise BadRequest(
        f"a container name must be specified for pod {name}, choose one of: [{' '.join(every)}]"
    )


async def _log_over_websocket(asked: Asked, answered: Answered) -> Sent:
    """Send a log as messages, each what the node wrote at once."""
    request = asked.request
    try:
        protocol = chosen_protocol(request)
        transport = transport_of(request)
        transport.write(handshake(request, asked.headers, protocol))
        _, writer = take_over(request, transport)
        try:
            async for part in body_parts(answered):
                is_text = protocol == BASE64_PROTOCOL
                message = frame(base64.b64encode(part), TEXT) if is_text else frame(part, BINARY)
                writer.write(message)
                await writer.drain()
            writer.write(NORMAL_CLOSE)
        finally:
            writer.close()
    except (ConnectionError, ServiceUnavailable) as error:
        raise Disconnected from error
    finally:
        close(answered)
    return Sent(101, keep_alive=False)


async def _refusal(answered: Answered, name: str) -> APIError:
    """Return what a node's refusal means to the client."""
    try:
        async with asyncio.timeout(BACKEND_PAGE_SECONDS.value):
            body = (await answered.reader.read(ERROR_BYTES_MAX)).decode(errors="replace").strip()
    except (ConnectionError, TimeoutError):
        body = ""
    finally:
        close(answered)
    match answered.head.status:
        case 400:
            return BadRequest(body)
        case 404:
            return NotFound(
                f"the server could not find the requested resource ( pods/log {name})",
                kind="pods/log",
                name=name,
            )
        case _:
            return internal_error(body)

"""The client inside the server process with an audit log: the requests of components are audited, too.

Kubernetes' components call over HTTP and are audited there. Here they do not, so each call makes its audit record, with
the identity of the component and by the same policy. Mirrors make no requests, so they make no records.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from kubelite.api.auth.audit import Auditor, AuditRecord
from kubelite.api.auth.caller import Attributes, Authorizer, Caller
from kubelite.api.client.local import LocalClient, named
from kubelite.api.client.mirror import metadata_of
from kubelite.api.client.mirrors import Mirrors
from kubelite.api.client.pace import Pace
from kubelite.api.client.protocol import PatchType
from kubelite.api.errors import APIError, Forbidden
from kubelite.api.kinds.model import Kind, to_wire
from kubelite.api.registry.verbs import Verbs

K = TypeVar("K", bound=Kind)

OK, CREATED = 200, 201
GONE = 499  # the caller was cancelled before the answer


class AuditedClient(LocalClient):
    """Reads and writes objects as `caller`, with an audit record for each call."""

    def __init__(
        self,
        verbs: Verbs,
        authorizer: Authorizer,
        caller: Caller,
        mirrors: Mirrors,
        *,
        auditor: Auditor,
        field_manager: str = "kubelite",
        pace: Pace | None = None,
    ) -> None:
        super().__init__(verbs, authorizer, caller, mirrors, field_manager=field_manager, pace=pace)
        self._auditor = auditor

    async def get(self, kind: type[K], name: str, namespace: str = "") -> K:
        """Return one object; raises NotFound."""
        with self._recorded("get", kind, namespace, name) as record:
            found = await super().get(kind, name, namespace)
            _complete(record, OK, found)
            return found

    async def list(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> list[K]:
        """Return the objects of one or all namespaces."""
        selectors = {"fieldSelector": field_selector, "labelSelector": label_selector}
        query = {name: text for name, text in selectors.items() if text}
        with self._recorded("list", kind, namespace, named(field_selector), query=query) as record:
            found = await super().list(
                kind, namespace, label_selector=label_selector, field_selector=field_selector
            )
            _complete(record, OK)
            return found

    async def create(self, item: K) -> K:
        """Create an object."""
        kind, namespace = type(item), metadata_of(item).namespace
        with self._recorded("create", kind, namespace, body=lambda: to_wire(item)) as record:
            made = await super().create(item)
            _complete(record, CREATED, made)
            return made

    async def update(self, item: K, subresource: str = "") -> K:
        """Replace an object or one of its subresources."""
        kind, meta = type(item), metadata_of(item)
        with self._recorded(
            "update", kind, meta.namespace, meta.name, subresource, body=lambda: to_wire(item)
        ) as record:
            written = await super().update(item, subresource)
            _complete(record, OK, written)
            return written

    async def patch(
        self,
        kind: type[K],
        name: str,
        patch: dict[str, Any] | Sequence[dict[str, Any]],
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
        force: bool = False,
    ) -> K:
        """Patch an object or its subresource."""
        with self._recorded(
            "patch", kind, namespace, name, subresource, body=lambda: patch
        ) as record:
            written = await super().patch(
                kind,
                name,
                patch,
                namespace,
                patch_type=patch_type,
                subresource=subresource,
                force=force,
            )
            _complete(record, OK, written)
            return written

    async def delete(
        self,
        kind: type[K],
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        grace_seconds: int | None = None,
        propagation: Literal["", "Foreground", "Background", "Orphan"] = "",
    ) -> None:
        """Delete an object."""
        with self._recorded("delete", kind, namespace, name) as record:
            await super().delete(
                kind,
                name,
                namespace,
                uid=uid,
                resource_version=resource_version,
                grace_seconds=grace_seconds,
                propagation=propagation,
            )
            _complete(record, OK)

    async def post(
        self,
        kind: type[Kind],
        name: str,
        subresource: str,
        body: Kind,
        namespace: str = "",
    ) -> dict[str, Any]:
        """Create a subresource; return the answer as JSON."""
        with self._recorded(
            "create", kind, namespace, name, subresource, body=lambda: to_wire(body)
        ) as record:
            answer = await super().post(kind, name, subresource, body, namespace)
            if record is not None:
                record.complete(CREATED, msgspec.json.encode(answer))
            return answer

    @contextmanager
    def _recorded(
        self,
        verb: str,
        kind: type[Kind],
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        *,
        query: dict[str, str] | None = None,
        body: Callable[[], Any] | None = None,
    ) -> Iterator[AuditRecord | None]:
        """Begin a record, and complete it if the call fails; None: the policy does not audit the call."""
        record = self._begin(verb, kind, namespace, name, subresource, query or {})
        if record is None:
            yield None
            return
        if body is not None and record.wants_request:
            record.request(body())
        try:
            yield record
        except APIError as error:
            if isinstance(error, Forbidden):
                record.decided("", allowed=False)
            record.complete(error.code, msgspec.json.encode(error.status()))
            raise
        except asyncio.CancelledError:
            record.complete(GONE)
            raise
        except Exception:
            record.panic()
            raise

    def _begin(
        self,
        verb: str,
        kind: type[Kind],
        namespace: str,
        name: str,
        subresource: str,
        query: dict[str, str],
    ) -> AuditRecord | None:
        row = self._verbs.resources.by_kind(kind.gvk)
        if row is None:
            return None  # the resource is not served, so the call raises NotFound
        attributes = Attributes(
            verb, row.group, row.version, row.plural, subresource, namespace, name
        )
        uri = path_of(attributes, with_name=verb != "list")
        return self._auditor.begin(
            self._caller,
            attributes,
            uri=f"{uri}?{urlencode(query)}" if query else uri,
            user_agent=f"kubelite/{self._manager}",
        )


def path_of(attributes: Attributes, *, with_name: bool) -> str:
    """Return the URL path of the same request over HTTP."""
    parts = ["apis", attributes.group] if attributes.group else ["api"]
    parts.append(attributes.version)
    if attributes.namespace:
        parts += ["namespaces", attributes.namespace]
    parts.append(attributes.resource)
    if attributes.name and with_name:
        parts.append(attributes.name)
        if attributes.subresource:
            parts.append(attributes.subresource)
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _complete(record: AuditRecord | None, code: int, answer: Kind | None = None) -> None:
    if record is None:
        return
    record.decided("", allowed=True)
    body = msgspec.json.encode(to_wire(answer)) if answer and record.wants_response else None
    record.complete(code, body)

"""The client inside the server process with an audit log: the requests of components are audited, too.

Kubernetes' components call over HTTP and are audited there. Here they do not, so each call makes its audit record, with
the identity of the component and by the same policy. Mirrors make no requests, so they make no records.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import msgspec

from kubelite.api.auth.audit import Auditor, AuditRecord
from kubelite.api.auth.caller import Authorizer, Caller
from kubelite.api.client.call import Call
from kubelite.api.client.elsewhere import Delegated, path_of
from kubelite.api.client.local import LocalClient
from kubelite.api.client.mirrors import Mirrors
from kubelite.api.client.pace import Pace
from kubelite.api.errors import APIError, Forbidden, NotFound
from kubelite.api.registry.verbs import Verbs

OK, CREATED = 200, 201
GONE = 499  # the caller was cancelled before the answer
COLLECTION = ("list", "deletecollection")  # verbs whose path has no name


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
        delegated: Delegated | None = None,
    ) -> None:
        super().__init__(
            verbs,
            authorizer,
            caller,
            mirrors,
            field_manager=field_manager,
            pace=pace,
            delegated=delegated,
        )
        self._auditor = auditor

    async def send(self, call: Call) -> bytes:
        """Carry out a call; return the JSON of its answer."""
        with self._recorded(call) as record:
            answer = await super().send(call)
            _complete(record, call, answer)
            return answer

    async def listed(self, call: Call, type_: Any) -> list[Any]:
        """Return the objects of a list as `type_`: a Kind, or dict."""
        with self._recorded(call) as record:
            found = await super().listed(call, type_)
            _complete(record, call)
            return found

    @contextmanager
    def _recorded(self, call: Call) -> Iterator[AuditRecord | None]:
        """Begin a record, and complete it if the call fails; None: the policy does not audit the call."""
        record = self._begin(call)
        if record is None:
            yield None
            return
        if call.body is not None and record.wants_request:
            record.request(call.body)
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

    def _begin(self, call: Call) -> AuditRecord | None:
        try:
            attributes = self._attributes(call)
        except NotFound:
            return None  # the resource is not served, so the call raises NotFound
        uri = path_of(attributes, with_name=call.verb not in COLLECTION)
        query = call.selectors
        return self._auditor.begin(
            self._caller,
            attributes,
            uri=f"{uri}?{urlencode(query)}" if query else uri,
            user_agent=f"kubelite/{self._manager}",
        )


def _complete(record: AuditRecord | None, call: Call, answer: bytes | None = None) -> None:
    if record is None:
        return
    record.decided("", allowed=True)
    shown = record.wants_response and not call.verb.startswith("delete")
    record.complete(CREATED if call.verb == "create" else OK, answer if shown else None)

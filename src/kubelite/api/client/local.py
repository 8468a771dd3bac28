"""The client inside the server process: calls the verbs directly, under an identity of its own.

Authorization and admission are the same as over HTTP. A mirror shows a write as soon as the write has returned.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from kubelite.api.auth.caller import Allowed, Attributes, Authorizer, Caller
from kubelite.api.client.call import Call, Of
from kubelite.api.client.calls import TypedCalls
from kubelite.api.client.decoding import decoded
from kubelite.api.client.elsewhere import Delegated, delegated_path, items_of
from kubelite.api.client.mirrors import Mirrors
from kubelite.api.client.pace import Pace
from kubelite.api.client.protocol import Mirror, ServedResources
from kubelite.api.client.request_metrics import Counted
from kubelite.api.kinds.model import Kind
from kubelite.api.kinds.resource_names import ResourceName
from kubelite.api.machinery.field_selectors import NAME, required_values
from kubelite.api.registry.options import DeletionOptions, ReadOptions, WriteOptions
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.routes import not_found
from kubelite.api.registry.verbs import Verbs

SELECTING = (
    "list",
    "watch",
)  # verbs for which the right to an object is enough, if they select that alone
DECODED_AT_ONCE = 500  # objects decoded in one step, about 5 ms of the loop
_READ = ReadOptions()
_LIST = Counted("GET")
_COUNTED = {
    "get": _LIST,
    "create": Counted("POST", 201),
    "update": Counted("PUT"),
    "patch": Counted("PATCH"),
    "delete": Counted("DELETE"),
    "deletecollection": Counted("DELETE"),
}


class LocalClient(TypedCalls):
    """Reads and writes objects as `caller`."""

    def __init__(
        self,
        verbs: Verbs,
        authorizer: Authorizer,
        caller: Caller,
        mirrors: Mirrors,
        *,
        field_manager: str = "kubelite",
        pace: Pace | None = None,
        delegated: Delegated | None = None,
    ) -> None:
        """All clients of a process should share one `pace`. `delegated` reads group versions of other servers."""
        self._verbs = verbs
        self._authorizer = authorizer
        self._caller = caller
        self._mirrors = mirrors
        self._manager = field_manager
        self._pace = pace or Pace()
        self._delegated = delegated

    @property
    def served(self) -> ServedResources:
        """The resources that the server serves."""
        return self._mirrors.served

    async def send(self, call: Call) -> bytes:
        """Carry out a call; return the JSON of its answer."""
        if call.verb != "get":
            await self._pace.turn()
        with _COUNTED[call.verb]:
            if call.verb == "get" and (delegated := self._delegate(call)) is not None:
                return await self._read(delegated, call)
            allowed = self._allow(call)
            match call.verb:
                case "get":
                    return await self._verbs.get(allowed, _READ)
                case "delete":
                    return (await self._verbs.delete(allowed, _deletion(call))).body
                case "deletecollection":
                    deleted = await self._verbs.delete_collection(
                        allowed, _selection(call), _deletion(call)
                    )
                    return deleted.body
                case "create":
                    written = await self._verbs.create(allowed, call.body, self._options())
                case "update":
                    written = await self._verbs.update(allowed, call.body, self._options())
                case _:
                    written = await self._verbs.patch(
                        allowed, call.patch_type, call.body, self._options(force=call.force)
                    )
            return written.body

    async def listed(self, call: Call, type_: Any) -> list[Any]:
        """Return the objects of a list as `type_`: a Kind, or dict."""
        with _LIST:
            if (delegated := self._delegate(call)) is not None:
                found: Sequence[bytes | msgspec.Raw] = items_of(await self._read(delegated, call))
            else:
                found = (await self._verbs.list(self._allow(call), _selection(call))).items
        items: list[Any] = []
        for start in range(0, len(found), DECODED_AT_ONCE):
            if start:
                await asyncio.sleep(0)
            part = found[start : start + DECODED_AT_ONCE]
            items += [decoded(type_, item) for item in part]
        return items

    def opened(self, call: Call, type_: Any) -> Mirror[Any]:
        """Return a mirror; raises NotFound, and Forbidden if the caller may not list and watch the objects."""
        row = self._row(call.of)
        for verb in ("list", "watch"):
            self._authorize(verb, row, call)
        if row.namespaced or not call.namespace:
            return self._mirrors.open(
                row,
                type_,
                call.namespace,
                label_selector=call.label_selector,
                field_selector=call.field_selector,
            )
        raise not_found()

    def follow(
        self, kind: type[Kind], name: str, namespace: str, changed: Callable[[], None]
    ) -> Callable[[], None]:
        """Call `changed` after each change of one object; return a call that ends it. Raises Forbidden."""
        call = Call(
            verb="watch",
            of=kind.gvk,
            namespace=namespace,
            name=name,
            field_selector=f"{NAME}={name}",
        )
        self._allow(call)
        return self._mirrors.follow(kind, name, namespace, changed)

    def on_return(self, returned: Callable[[], None]) -> Callable[[], None]:  # noqa: ARG002 - the protocol's
        """Never call `returned`, as the server is always there."""
        return lambda: None

    def _options(self, *, force: bool = False) -> WriteOptions:
        return WriteOptions(field_manager=self._manager, field_validation="Ignore", force=force)

    def _row(self, of: Of) -> Resource:
        resources = self._verbs.resources
        row = resources.find(*of) if isinstance(of, ResourceName) else resources.by_kind(of)
        if row is None:
            raise not_found()
        return row

    def _delegate(self, call: Call) -> Delegated | None:
        """Return who reads from the server that answers for a resource; None: this one answers."""
        of, delegated = call.of, self._delegated
        if delegated is None or not isinstance(of, ResourceName):
            return None
        return delegated if delegated.serves(of.group, of.version) else None

    async def _read(self, delegated: Delegated, call: Call) -> bytes:
        """Return the answer of another server, which takes the caller's identity from this one."""
        assert isinstance(call.of, ResourceName), "it is delegated by its group and version"
        attributes = self._authorize(call.verb, call.of, call).attributes
        path = delegated_path(attributes, {**call.selectors, **call.parameters})
        return await delegated.read(call.of.group, call.of.version, path, self._caller)

    def _attributes(self, call: Call) -> Attributes:
        """Return what a call asks the right for; raises NotFound if nobody serves the resource."""
        is_read = call.verb in ("get", "list")
        if is_read and isinstance(call.of, ResourceName) and self._delegate(call) is not None:
            return attributes_of(call.verb, call.of, call)
        return attributes_of(call.verb, self._row(call.of), call)

    def _allow(self, call: Call) -> Allowed:
        return self._authorize(call.verb, self._row(call.of), call)

    def _authorize(self, verb: str, row: Resource | ResourceName, call: Call) -> Allowed:
        return self._authorizer.authorize(self._caller, attributes_of(verb, row, call))


def attributes_of(verb: str, row: Resource | ResourceName, call: Call) -> Attributes:
    """Return what a call asks the right for."""
    return Attributes(
        verb=verb,
        group=row.group,
        version=row.version,
        resource=row.plural,
        subresource=call.subresource,
        namespace=call.namespace,
        name=call.name or (named(call.field_selector) if verb in SELECTING else ""),
        field_selector=call.field_selector,
        label_selector=call.label_selector,
    )


def named(field_selector: str) -> str:
    """Return the name that a field selector requires, or ""; the right to that object allows its list and watch."""
    return required_values(field_selector).get(NAME, "")


def _selection(call: Call) -> ReadOptions:
    return ReadOptions(label_selector=call.label_selector, field_selector=call.field_selector)


def _deletion(call: Call) -> DeletionOptions:
    return DeletionOptions(
        grace_seconds=call.grace_seconds,
        propagation=call.propagation,
        uid=call.uid,
        resource_version=call.resource_version,
    )

"""Releases the name of a node when its Node is deleted, or when the machine that has the name never registers.

A binding is made before the Node exists. So it first notes the Node's UID, and its name is free once no Node with that
UID is there. A released binding stays until no certificate of the former machine can be valid any more: authentication
refuses them as long.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.machinery.join_secrets import (
    IDENTITY_SUFFIX,
    IDENTITY_TYPE,
    NAMESPACE,
    Binding,
    binding_of,
    identity_name,
    identity_secret,
)
from kubelite.control.runtime import Context, Key, Watch

# Other Secrets are not held in memory.
IDENTITIES = f"type={IDENTITY_TYPE},metadata.namespace={NAMESPACE}"
REGISTRATION_LIFETIME = timedelta(hours=1)  # from the binding to the Node
RELEASED_LIFETIME = timedelta(days=366)  # longer than a certificate is valid


class Step(Struct, frozen=True):
    """What to do with a binding now, and the seconds after which to look again (None: when something changes)."""

    action: Literal["keep", "write", "delete"] = "keep"
    binding: Binding | None = None  # to write
    again_seconds: float | None = None


def next_step(binding: Binding, node_uid: str, now: datetime) -> Step:
    """Decide on a binding. `node_uid` is that of the Node of its name, "" if there is none."""
    if binding.released_at is not None:
        left_seconds = (binding.released_at + RELEASED_LIFETIME - now).total_seconds()
        return Step(again_seconds=left_seconds) if left_seconds > 0 else Step("delete")
    if binding.node_uid:
        # Another UID: the Node was deleted and made anew before this was seen; the name was given back all the same.
        if binding.node_uid == node_uid:
            return Step()
        return Step("write", replace(binding, released_at=now))
    if node_uid:
        return Step("write", replace(binding, node_uid=node_uid))
    left_seconds = (binding.bound_at + REGISTRATION_LIFETIME - now).total_seconds()
    if left_seconds > 0:
        return Step(again_seconds=left_seconds)
    return Step("write", replace(binding, released_at=now))


class NodeIdentityController:
    """Reconciles the bindings of node names; a key is the name of a node."""

    name = "node-identity"
    identity = "certificate-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._secrets = context.mirror(Secret, field_selector=IDENTITIES)
        self._nodes = context.mirror(Node)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch bindings, and Nodes that come and go."""
        return (
            Watch(Secret, _node_of, field_selector=IDENTITIES),
            Watch(Node, where=_comes_or_goes),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Note the Node of a binding, release its name or delete it."""
        secret = self._secrets.get(identity_name(key.name), NAMESPACE)
        binding = None if secret is None else binding_of(secret)
        if secret is None or binding is None:
            return None
        node = self._nodes.get(key.name)
        step = next_step(
            binding, "" if node is None else node.metadata.uid, self._context.clock.now()
        )
        if step.action == "write":
            assert step.binding is not None
            await self._context.client.update(identity_secret(key.name, step.binding, secret))
        elif step.action == "delete":
            await self._delete(secret)
        return step.again_seconds

    async def _delete(self, secret: Secret) -> None:
        try:
            await self._context.client.delete(
                Secret, secret.metadata.name, NAMESPACE, uid=secret.metadata.uid
            )
        except NotFound:
            return


def _node_of(secret: Secret) -> Iterator[Key]:
    yield Key("", secret.metadata.name.removesuffix(IDENTITY_SUFFIX))


def _comes_or_goes(before: Node | None, after: Node | None) -> bool:
    return before is None or after is None or before.metadata.uid != after.metadata.uid

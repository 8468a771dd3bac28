"""Reads the objects that pods refer to: ConfigMaps, Secrets, claims, volumes.

Each use reads the object from the API. What was read last is kept while a pod uses it, as the kubelet's own manager
does, and serves when the API does not answer: a container that ends while the server is away starts again with it.
"""

from typing import TypeVar, cast

import msgspec
from msgspec import Struct

from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError, NotFound, is_no_answer
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.model import Kind
from kubelite.limits import KEPT_CONFIG

K = TypeVar("K", bound=Kind)
Reference = tuple[type[Kind], str, str]  # kind, namespace, name


class _Kept(Struct):
    """An object as read last, with the uids of the pods that read it."""

    item: Kind
    size_bytes: int
    pods: set[str]


class PodConfig:
    """The objects that the pods of one node refer to."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._kept: dict[Reference, _Kept] = {}
        self._of_pod: dict[str, set[Reference]] = {}
        self.size_bytes = 0  # of what is kept

    async def get(self, pod: Pod, kind: type[K], name: str, *, namespace: str | None = None) -> K:
        """Return an object, of the pod's namespace by default, as the API has it; as read last if that does not answer.

        Raises NotFound, and the APIError of an API that does not answer if the object was not read before.
        """
        place = pod.metadata.namespace if namespace is None else namespace
        reference: Reference = (kind, place, name)
        try:
            found = await self._client.get(kind, name, place)
        except NotFound:
            self._drop(reference)
            raise
        except APIError as error:
            kept = self._kept.get(reference)
            if kept is None or not is_no_answer(error):
                raise
            self._use(reference, kept, pod)
            return cast("K", kept.item)
        self._keep(reference, found, pod)
        return found

    def forget(self, pod_uid: str) -> None:
        """Drop what only this pod used."""
        for reference in self._of_pod.pop(pod_uid, ()):
            kept = self._kept[reference]
            kept.pods.discard(pod_uid)
            if not kept.pods:
                del self._kept[reference]
                self.size_bytes -= kept.size_bytes

    def _keep(self, reference: Reference, item: Kind, pod: Pod) -> None:
        known = self._kept.get(reference)
        size = len(msgspec.json.encode(item))
        if self.size_bytes - (known.size_bytes if known else 0) + size > KEPT_CONFIG.value:
            KEPT_CONFIG.reached()
            self._drop(reference)
            return
        if known is None:
            known = self._kept[reference] = _Kept(item, 0, set())
        self.size_bytes += size - known.size_bytes
        known.item, known.size_bytes = item, size
        self._use(reference, known, pod)

    def _use(self, reference: Reference, kept: _Kept, pod: Pod) -> None:
        kept.pods.add(pod.metadata.uid)
        self._of_pod.setdefault(pod.metadata.uid, set()).add(reference)

    def _drop(self, reference: Reference) -> None:
        kept = self._kept.pop(reference, None)
        if kept is None:
            return
        self.size_bytes -= kept.size_bytes
        for uid in kept.pods:
            references = self._of_pod[uid]
            references.discard(reference)
            if not references:
                del self._of_pod[uid]

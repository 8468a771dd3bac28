"""Watches the objects that pod volumes show, so that a change refreshes exactly the pods that show it.

As in the kubelet there is one watch per object, selected by name, shared by all pods of the node that use it, and
ended with the last of them. So a node needs rights to its pods' own objects only, and holds no copy of them.
"""

from collections.abc import Callable, Iterator

from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.config import ConfigMap, Secret
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.volumes import Volume
from kubelite.api.kinds.model import Kind
from kubelite.limits import FOLLOWED_OBJECTS, POD_FOLLOWED_OBJECTS

Reference = tuple[type[Kind], str, str]  # kind, namespace, name


def shown_objects(pod: Pod) -> Iterator[Reference]:
    """Yield the ConfigMaps and Secrets that a pod's volumes show; one may come more than once."""
    for volume in pod.spec.volumes:
        for kind, name in _of_volume(volume):
            if name:
                yield kind, pod.metadata.namespace, name


def _of_volume(volume: Volume) -> Iterator[tuple[type[Kind], str]]:
    if volume.configMap is not None:
        yield ConfigMap, volume.configMap.name
    if volume.secret is not None:
        yield Secret, volume.secret.secretName
    for source in volume.projected.sources if volume.projected is not None else ():
        if source.configMap is not None:
            yield ConfigMap, source.configMap.name
        if source.secret is not None:
            yield Secret, source.secret.name


def shows_itself(pod: Pod) -> bool:
    """Return whether a volume of a pod shows fields of the pod (the downward API)."""
    return any(
        volume.downwardAPI is not None
        or (volume.projected is not None and any(s.downwardAPI for s in volume.projected.sources))
        for volume in pod.spec.volumes
    )


def differs_as_shown(before: Pod, after: Pod) -> bool:
    """Return whether a downward API volume may show the change of a pod: labels, annotations or resources."""
    old, new = before.metadata, after.metadata
    if (old.labels, old.annotations) != (new.labels, new.annotations):
        return True
    containers = zip(before.spec.containers, after.spec.containers, strict=False)
    inits = zip(before.spec.initContainers, after.spec.initContainers, strict=False)
    return any(one.resources != other.resources for one, other in (*containers, *inits))


class FollowedObjects:
    """The watches of one node, reference-counted by pod."""

    def __init__(self, client: Client, changed: Callable[[str], None]) -> None:
        """`changed` is called after each change of an object, with the uid of each pod that shows it."""
        self._client = client
        self._changed = changed
        self._ends: dict[Reference, Callable[[], None]] = {}
        self._pods: dict[Reference, set[str]] = {}  # uids of the pods that show an object
        self._shown: dict[str, frozenset[Reference]] = {}  # the objects a pod shows, by pod uid

    def follow(self, pod: Pod) -> bool:
        """Watch the objects a pod shows; False if not all are watched, as the limits are reached. Raises Forbidden.

        Earlier changes are not reported, so read the objects after this call.
        """
        uid = pod.metadata.uid
        wanted = frozenset(shown_objects(pod))
        is_whole = len(wanted) <= POD_FOLLOWED_OBJECTS.value
        if not is_whole:
            POD_FOLLOWED_OBJECTS.reached()
            wanted = frozenset()
        self._drop(uid, self._shown.get(uid, frozenset()) - wanted)
        for reference in sorted(wanted - self._shown.get(uid, frozenset()), key=_order):
            if reference not in self._ends:
                if len(self._ends) >= FOLLOWED_OBJECTS.value:
                    FOLLOWED_OBJECTS.reached()
                    is_whole = False
                    continue
                self._begin(reference)
            self._pods.setdefault(reference, set()).add(uid)
            self._shown[uid] = self._shown.get(uid, frozenset()) | {reference}
        return is_whole

    def forget(self, pod_uid: str) -> None:
        """End the watches that only this pod needed."""
        self._drop(pod_uid, self._shown.get(pod_uid, frozenset()))

    def close(self) -> None:
        """End all watches."""
        for uid in list(self._shown):
            self.forget(uid)

    def _begin(self, reference: Reference) -> None:
        kind, namespace, name = reference

        def changed() -> None:
            for uid in sorted(self._pods.get(reference, ())):
                self._changed(uid)

        self._ends[reference] = self._client.follow(kind, name, namespace, changed)

    def _drop(self, uid: str, references: frozenset[Reference]) -> None:
        left = self._shown.pop(uid, frozenset()) - references
        if left:
            self._shown[uid] = left
        for reference in references:
            users = self._pods[reference]
            users.discard(uid)
            if not users:
                del self._pods[reference]
                self._ends.pop(reference)()


def _order(reference: Reference) -> tuple[str, str, str]:
    kind, namespace, name = reference
    return kind.__name__, namespace, name

"""Follows what network policies depend on: as long as there is none, nothing but the policies themselves."""

import asyncio
from collections.abc import Callable

from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.networking import NetworkPolicy
from kubelite.net.policies import dns_members, isolation, members, policy_rules
from kubelite.net.ruleset import ProxySettings, Ruleset, merge


class PolicySource:
    """Calls `changed` when the rules may have to be computed anew."""

    def __init__(
        self, client: Client, settings: ProxySettings, changed: Callable[[], None]
    ) -> None:
        self._client = client
        self._settings = settings
        self._changed = changed
        self._policies = client.mirror(NetworkPolicy)
        self._attached: dict[str, str] = {}  # addresses that are connected to this node, by pod uid
        self._gone: dict[
            str, Pod
        ] = {}  # pods that the API has forgotten while they were connected, by uid
        self._unsubscribe: list[Callable[[], None]] = []
        self._follows_pods = False

    async def start(self) -> None:
        """Begin to follow."""
        await self._policies.synced()
        self._unsubscribe.append(self._policies.subscribe(self._policy_changed))

    def stop(self) -> None:
        """Follow no more."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe = []
        self._follows_pods = False

    @property
    def is_in_use(self) -> bool:
        """Whether there is any policy."""
        return bool(self._policies.list())

    def expect(self, pod_uid: str, address: str) -> None:
        """Note the address of a pod as it is connected: its status will tell it later."""
        self._attached[pod_uid] = address
        if self.is_in_use:
            self._changed()

    def pod_gone(self, pod: Pod) -> None:
        """Keep a pod that was deleted by force: its containers run on for a while, and must not be let loose."""
        if pod.metadata.uid in self._attached:
            self._gone[pod.metadata.uid] = pod

    def forget(self, pod_uid: str) -> None:
        """Note that a pod is disconnected."""
        self._gone.pop(pod_uid, None)
        if self._attached.pop(pod_uid, None) is not None and self.is_in_use:
            self._changed()

    async def rules(self) -> Ruleset:
        """Return the rules as things are."""
        policies = self._policies.list()
        if not policies:
            return Ruleset()
        pods = self._client.mirror(Pod)
        namespaces = self._client.mirror(Namespace)
        await pods.synced()
        await namespaces.synced()
        if not self._follows_pods:
            self._follows_pods = True
            self._unsubscribe += [
                pods.subscribe(self._pod_changed),
                namespaces.subscribe(self._namespace_changed),
            ]
        known = pods.list()
        present = {pod.metadata.uid for pod in known}
        gone = [pod for uid, pod in self._gone.items() if uid not in present]
        found = members([*known, *gone], self._settings.node_name, self._attached)
        found += dns_members(self._settings)
        present.update(self._gone)
        # As after a restart during which the pod was deleted: nobody knows any more what it may do.
        strangers = [address for uid, address in self._attached.items() if uid not in present]
        labels = {item.metadata.name: item.metadata.labels for item in namespaces.list()}
        # off the loop: with many policies and pods this takes long
        rules = await asyncio.to_thread(policy_rules, list(policies), found, labels)
        return merge([rules, isolation(strangers)])

    def _policy_changed(self, before: NetworkPolicy | None, after: NetworkPolicy | None) -> None:
        if before is None or after is None or before.spec != after.spec:
            self._changed()

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if _traits(before) != _traits(after):
            self._changed()

    def _namespace_changed(self, before: Namespace | None, after: Namespace | None) -> None:
        if before is None or after is None or before.metadata.labels != after.metadata.labels:
            self._changed()


def _traits(pod: Pod | None) -> object:
    """Return what of a pod policies look at, besides what never changes."""
    return pod and (pod.metadata.labels, pod.status.podIP, pod.status.phase, pod.spec.nodeName)

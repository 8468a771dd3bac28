"""Watches what network policies depend on; pods and namespaces only once there is a policy."""

from collections.abc import Callable, Sequence
from functools import partial

from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.networking import NetworkPolicy
from kubelite.net.policies import Pace, cost_bytes, dns_members, isolation, members, policy_rules
from kubelite.net.ruleset import ProxySettings, Ruleset
from kubelite.net.trusted_text import endpoint_text
from kubelite.offload import Offload


class PolicySource:
    """Calls `changed` when the rules of network policies may be outdated."""

    def __init__(
        self,
        client: Client,
        settings: Sequence[ProxySettings],
        offload: Offload,
        changed: Callable[[], None],
        *,
        is_on: bool = True,
    ) -> None:
        """Unless it `is_on` there are no rules: policies are left to another program."""
        self._is_on = is_on
        self._client = client
        self._settings = settings
        self._offload = offload
        self._changed = changed
        self._policies = client.mirror(NetworkPolicy)
        self._attached: dict[
            str, tuple[str, ...]
        ] = {}  # addresses that are connected to this node, by pod uid
        self._gone: dict[
            str, Pod
        ] = {}  # pods that the API has forgotten while they were connected, by uid
        self._unsubscribe: list[Callable[[], None]] = []
        self._follows_pods = False

    async def start(self) -> None:
        """Subscribe to policies, and to pods and namespaces once there is a policy."""
        if not self._is_on:
            return
        await self._policies.synced()
        self._unsubscribe.append(self._policies.subscribe(self._policy_changed))

    def stop(self) -> None:
        """End the subscriptions to the mirrors."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe = []
        self._follows_pods = False

    @property
    def is_in_use(self) -> bool:
        """Whether there is any policy to enforce."""
        return self._is_on and bool(self._policies.list())

    def expect(self, pod_uid: str, addresses: Sequence[str]) -> None:
        """Record the addresses of a pod that is being connected, since its status shows them only later."""
        self._attached[pod_uid] = tuple(addresses)
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

    async def rules(self) -> list[Ruleset]:
        """Return the rules of the current policies, pods and namespaces, for each of the settings."""
        policies = self._policies.list()
        if not self.is_in_use:
            return [Ruleset() for _ in self._settings]
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
        known, spaces, attached = pods.list(), namespaces.list(), dict(self._attached)
        gone = dict(self._gone)
        labels = {item.metadata.name: item.metadata.labels for item in spaces}

        def work(settings: ProxySettings) -> Ruleset:
            family, pace = settings.family, Pace()
            present = {pod.metadata.uid for pod in known}
            lost = [pod for uid, pod in gone.items() if uid not in present]
            found = members([*known, *lost], settings.node_name, attached, family, pace)
            found += dns_members(settings)
            # A pod that was deleted during a restart: its labels are lost, so its policies cannot be computed.
            strangers = [
                address
                for uid, addresses in attached.items()
                if uid not in present | gone.keys()
                for address in addresses
                if endpoint_text(address, family) is not None
            ]
            rules = policy_rules(policies, found, labels, family, pace)
            rules.elements.update(isolation(strangers).elements)
            return rules

        cost = cost_bytes(policies, len(known) + len(spaces))
        return [
            await self._offload.run(cost, partial(work, settings)) for settings in self._settings
        ]

    def get(self, key: str) -> NetworkPolicy | None:
        """Return a policy by namespace/name."""
        namespace, _, name = key.partition("/")
        return self._policies.get(name, namespace)

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
    """Return the properties of a pod that policies depend on and that can change."""
    if pod is None:
        return None
    status = pod.status
    return pod.metadata.labels, status.podIP, status.podIPs, status.phase, pod.spec.nodeName

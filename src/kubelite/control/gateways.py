"""Writes the statuses of kubelite's GatewayClasses, Gateways and HTTPRoutes, and keeps the class `kubelite`.

All are decided together, by the plan that the nodes serve by. Nothing is done while the definitions of the Gateway API
are not installed, and its parts are imported only then.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from kubelite.api.errors import AlreadyExists, Conflict, NotFound
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.services import Service
from kubelite.api.machinery.times import format_time
from kubelite.control.batches import for_each
from kubelite.control.definitions import Definition
from kubelite.control.ingresses import node_matters
from kubelite.control.load_balancing import hosts_of
from kubelite.control.runtime import Context, Key, Watch

if TYPE_CHECKING:
    from kubelite.ingress.chains import Chains
    from kubelite.ingress.gateway_listeners import Chain, World
    from kubelite.ingress.gateway_policies import Authority
    from kubelite.ingress.gateway_source import GatewayObjects
    from kubelite.ingress.plan import SecretKey
    from kubelite.ingress.secrets import CertificateSecrets, ObjectsByName

ALL = Key("", "all")
CONTROLLER, NAME = "kubelite.io/gateway-controller", "kubelite"
GROUP = "gateway.networking.k8s.io"
DEFINITION = f"gatewayclasses.{GROUP}"
BUNDLE_VERSION = f"{GROUP}/bundle-version"
STEP_COST_BYTES = 2048  # what the offload counts for an object


class GatewayController:
    """Reconciles all objects of the Gateway API at once."""

    name = "gateway-controller"
    identity = "gateway-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = context.options.ingress
        self._services = context.mirror(Service)
        self._nodes = context.mirror(Node)
        self._definitions = context.mirror(Definition)
        self._objects: GatewayObjects | None = None
        self._secrets: CertificateSecrets | None = None
        self._chains: Chains | None = None
        self._authorities: ObjectsByName[ConfigMap] | None = None
        context.ends.append(context.resources.subscribe(self._enqueue))
        context.ends.append(self._close)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch what the decision depends on; Services and nodes matter only once there can be Gateways."""
        return (
            Watch(Definition, _if_gateways),
            Watch(Service, self._if_any, where=_service_matters),
            Watch(Node, self._if_any, where=node_matters),
        )

    def _enqueue(self) -> None:
        self._context.queue.add(ALL)

    def _if_any(self, _: object) -> Iterable[Key]:
        return (ALL,) if self._objects is not None and not self._objects.is_empty else ()

    def _close(self) -> None:
        if self._objects is not None:
            self._objects.close()
        if self._secrets is not None:
            self._secrets.close()
        if self._authorities is not None:
            self._authorities.close()

    async def reconcile(self, _: Key) -> float | None:
        """Decide for all objects, and write what differs."""
        if self._objects is None:
            if not any(one.group == GROUP for one in self._context.resources.resources()):
                return None
            from kubelite.ingress.gateway_source import GatewayObjects

            self._objects = GatewayObjects(self._context.mirrors, self._enqueue)
        objects = self._objects
        await objects.synced()
        if not objects.versions:
            return None
        await self._keep_class(objects)
        # Only clusters with the Gateway API need the rest.
        from kubelite.ingress.gateway_plan import plan

        definition = self._definitions.get(DEFINITION)
        annotations = definition.metadata.annotations if definition is not None else {}
        snapshot = objects.snapshot()
        world = await self._context.offload.run(STEP_COST_BYTES * snapshot.size, snapshot.world)
        nodes = self._nodes.list()
        hosts = hosts_of(nodes, ())
        world = replace(
            world,
            services={
                (one.metadata.namespace, one.metadata.name): one for one in self._services.list()
            },
            chains=await self._read_chains(world),
            authorities=await self._read_authorities(world),
            addresses=[address for host in hosts for address in host.addresses.values()],
            http_port=self._settings.ports[0],
            https_port=self._settings.ports[1],
            own_ports=self._own_ports(nodes),
            bundle_version=annotations.get(BUNDLE_VERSION, ""),
        )
        found = await self._context.offload.run(
            STEP_COST_BYTES * snapshot.size, partial(plan, world)
        )
        statuses = dict(found.statuses)
        for one in world.routes:  # those that no Gateway of kubelite's has any more
            if any(
                parent.get("controllerName") == CONTROLLER
                for parent in one.status.get("parents") or ()
            ):
                key = "httproutes", one.metadata.namespace, one.metadata.name
                statuses.setdefault(key, {"parents": []})
        await for_each(list(statuses.items()), lambda one: self._write(objects, *one))
        return None

    async def _read_chains(self, world: "World") -> "dict[SecretKey, Chain]":
        """Return what is known of the Secrets that listeners may read; they are followed from now on."""
        from kubelite.ingress.gateway_listeners import certificate_secrets

        wanted = certificate_secrets(world)
        if self._secrets is None:
            if not wanted:
                return {}
            # Only Gateways with TLS need the rest.
            from kubelite.ingress.chains import Chains
            from kubelite.ingress.secrets import CertificateSecrets

            self._secrets = CertificateSecrets(self._context.mirrors, self._enqueue)
            self._chains = Chains(self._secrets)
        assert self._chains is not None
        self._secrets.follow(wanted)
        await self._secrets.synced()
        return await self._chains.check(wanted)

    async def _read_authorities(self, world: "World") -> "dict[SecretKey, Authority]":
        """Return whom policies say to trust; their ConfigMaps are followed from now on."""
        from kubelite.ingress.gateway_policies import authorities_of

        wanted = authorities_of(world.policies)
        if self._authorities is None:
            if not wanted:
                return {}
            from kubelite.ingress.secrets import ObjectsByName

            self._authorities = ObjectsByName(self._context.mirrors, ConfigMap, self._enqueue)
        from kubelite.ingress.chains import authority_of

        self._authorities.follow(wanted)
        await self._authorities.synced()
        return {key: authority_of(self._authorities.get(key)) for key in wanted}

    def _own_ports(self, nodes: Iterable[Node]) -> dict[int, str]:
        """Return the ports that kubelite's other servers have on nodes."""
        found = {
            node.status.daemonEndpoints.kubeletEndpoint.Port: "the node agent" for node in nodes
        }
        found[self._context.options.load_balancing.api_port] = "the API server"
        found.pop(0, None)
        return found

    async def _keep_class(self, objects: "GatewayObjects") -> None:
        """Create the class `kubelite` where there is none; a user's changes stay. Without ingress remove it."""
        version = objects.versions.get("gatewayclasses", "")
        stored = objects.get("gatewayclasses", NAME, "")
        if version and stored and not self._settings.is_on:
            await self._remove_class(version)
        if not self._settings.is_on or not version or stored:
            return
        item = {
            "apiVersion": f"{GROUP}/{version}",
            "kind": "GatewayClass",
            "metadata": {"name": NAME},
            "spec": {"controllerName": CONTROLLER},
        }
        try:
            await self._context.client.resource(GROUP, version, "gatewayclasses").create(item)
        except (AlreadyExists, NotFound):
            return

    async def _remove_class(self, version: str) -> None:
        """Delete the class `kubelite` if this controller made it, not one that a user made."""
        classes = self._context.client.resource(GROUP, version, "gatewayclasses")
        try:
            metadata = (await classes.get(NAME))["metadata"]
            managers = {  # but for its status, which it writes of every class
                one.get("manager")
                for one in metadata.get("managedFields") or ()
                if not one.get("subresource")
            }
            if self.name in managers:
                await classes.delete(NAME, uid=metadata["uid"])
        except NotFound:
            return

    async def _write(
        self, objects: "GatewayObjects", key: tuple[str, str, str], planned: Mapping[str, Any]
    ) -> None:
        from kubelite.ingress.gateway_conditions import merged

        plural, namespace, name = key
        item = objects.get(plural, name, namespace)
        if item is None:
            return
        before = item.get("status") or {}
        status = merged(planned, before, format_time(self._context.clock.now()))
        if all(before.get(field) == value for field, value in status.items()):
            return
        metadata = item["metadata"]
        patch = {
            "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
            "status": status,
        }
        client = self._context.client.resource(GROUP, objects.versions[plural], plural)
        try:
            await client.patch(name, patch, namespace, subresource="status")
        except NotFound:
            return
        except Conflict:
            self._enqueue()


def _if_gateways(item: Definition) -> Iterable[Key]:
    return (ALL,) if item.metadata.name == DEFINITION else ()


def _service_matters(before: Service | None, after: Service | None) -> bool:
    return (
        before is None
        or after is None
        or before.spec != after.spec
        or before.status.loadBalancer != after.status.loadBalancer
    )

"""What every cluster has from the start: its namespaces, the API's own Service, the priorities of the system.

Run at each start; what is there and right is left alone.
"""

from collections.abc import Sequence
from typing import Any

from kubelite.api.auth.caller import Allowed, Attributes, Authorizer, Caller
from kubelite.api.errors import AlreadyExists, NotFound
from kubelite.api.registry.objects import decode
from kubelite.api.registry.options import ReadOptions, WriteOptions
from kubelite.api.registry.verbs import Verbs

CALLER = Caller("system:apiserver", ("system:masters",))
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
NAME = "kubernetes"

JSON = dict[str, Any]


class Bootstrap:
    """Makes what is missing."""

    def __init__(self, verbs: Verbs, authorizer: Authorizer) -> None:
        self._verbs = verbs
        self._authorizer = authorizer

    async def run(
        self, *, service_cidr: str, service_address: str, endpoint: str, port: int
    ) -> None:
        """Make everything; `endpoint` is the address under which pods reach the API at `port`."""
        for namespace in NAMESPACES:
            await self._create("", "v1", "namespaces", {"metadata": {"name": namespace}})
        for body in PRIORITY_CLASSES:
            await self._create("scheduling.k8s.io", "v1", "priorityclasses", body)
        await self._create("networking.k8s.io", "v1", "servicecidrs", service_range(service_cidr))
        await self._mark_ready()
        await self._put("", "v1", "services", api_service(service_address, port))
        await self._put("", "v1", "endpoints", api_endpoints(endpoint, port))
        await self._put("discovery.k8s.io", "v1", "endpointslices", api_slice(endpoint, port))

    async def _mark_ready(self) -> None:
        allowed = self._allow(
            "patch", "networking.k8s.io", "v1", "servicecidrs", "", NAME, "status"
        )
        found = decode.decode(await self._verbs.get(self._get(allowed), ReadOptions()))
        if found.get("status", {}).get("conditions"):
            return
        since = found["metadata"]["creationTimestamp"]
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": "",
            "message": "Kubernetes Service CIDR is ready",
            "lastTransitionTime": since,
        }
        patch = {"status": {"conditions": [condition]}}
        await self._verbs.patch(allowed, "merge", patch, _options())

    def _get(self, allowed: Allowed) -> Allowed:
        asked = allowed.attributes
        return self._allow("get", asked.group, asked.version, asked.resource, "", asked.name)

    async def _create(self, group: str, version: str, resource: str, body: JSON) -> None:
        """Create what is not there."""
        namespace = body["metadata"].get("namespace", "")
        name = body["metadata"]["name"]
        try:
            await self._verbs.get(
                self._allow("get", group, version, resource, namespace, name), ReadOptions()
            )
        except NotFound:
            allowed = self._allow("create", group, version, resource, namespace)
            try:
                await self._verbs.create(allowed, body, _options())
            except AlreadyExists:
                return

    async def _put(self, group: str, version: str, resource: str, body: JSON) -> None:
        """Create it, or make it as it should be; a write that changes nothing is none."""
        metadata = body["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        wanted = {name: value for name, value in body.items() if name != "metadata"}
        await self._create(group, version, resource, {**body, "metadata": dict(metadata)})
        allowed = self._allow("patch", group, version, resource, namespace, name)
        await self._verbs.patch(allowed, "merge", wanted, _options())

    def _allow(
        self,
        verb: str,
        group: str,
        version: str,
        resource: str,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
    ) -> Allowed:
        attributes = Attributes(
            verb=verb,
            group=group,
            version=version,
            resource=resource,
            subresource=subresource,
            namespace=namespace,
            name=name,
        )
        return self._authorizer.authorize(CALLER, attributes)


def _options() -> WriteOptions:
    return WriteOptions(field_manager="kube-apiserver")


def _priority(name: str, value: int, text: str) -> JSON:
    return {"metadata": {"name": name}, "value": value, "description": text}


PRIORITY_CLASSES: Sequence[JSON] = (
    _priority(
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, "
        "but can be moved to another node if necessary.",
    ),
    _priority(
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
)


def service_range(cidr: str) -> JSON:
    """Return the object that tells the range of Service addresses."""
    return {"metadata": {"name": NAME}, "spec": {"cidrs": [cidr]}}


def api_service(address: str, port: int) -> JSON:
    """Return the Service under which pods find the API."""
    return {
        "metadata": {
            "name": NAME,
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": address,
            "clusterIPs": [address],
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
        },
    }


def api_endpoints(address: str, port: int) -> JSON:
    """Return the Endpoints of that Service; the slice is made here too, so nobody is to mirror it."""
    return {
        "metadata": {
            "name": NAME,
            "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [
            {
                "addresses": [{"ip": address}],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            }
        ],
    }


def api_slice(address: str, port: int) -> JSON:
    """Return the EndpointSlice of that Service."""
    return {
        "metadata": {
            "name": NAME,
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": NAME},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }

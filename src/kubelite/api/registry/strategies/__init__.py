"""The write hooks of kinds with behaviour of their own; one file per kind or small family.

A kind that is not listed has the generic `Strategy`.
"""

from collections.abc import Mapping

from kubelite.api.registry.resources import Resource
from kubelite.api.registry.strategies.certificates import CertificateSigningRequestStrategy
from kubelite.api.registry.strategies.namespaces import NamespaceStrategy
from kubelite.api.registry.strategies.nodes import NodeStrategy
from kubelite.api.registry.strategies.pods import PodStrategy
from kubelite.api.registry.strategies.services import ServiceStrategy
from kubelite.api.registry.strategies.storage import EventStrategy, SecretStrategy, VolumeStrategy
from kubelite.api.registry.strategies.workloads import (
    DaemonSetStrategy,
    DeploymentStrategy,
    JobStrategy,
    ReplicationControllerStrategy,
)
from kubelite.api.registry.strategy import Strategy

STRATEGIES: Mapping[str, type[Strategy]] = {
    "pods.core": PodStrategy,
    "namespaces.core": NamespaceStrategy,
    "nodes.core": NodeStrategy,
    "services.core": ServiceStrategy,
    "secrets.core": SecretStrategy,
    "events.core": EventStrategy,
    "persistentvolumes.core": VolumeStrategy,
    "persistentvolumeclaims.core": VolumeStrategy,
    "replicationcontrollers.core": ReplicationControllerStrategy,
    "deployments.apps": DeploymentStrategy,
    "daemonsets.apps": DaemonSetStrategy,
    "jobs.batch": JobStrategy,
    "certificatesigningrequests.certificates.k8s.io": CertificateSigningRequestStrategy,
}


def strategy_of(resource: Resource) -> Strategy:
    """Return a new strategy for a resource, by the name of its storage."""
    return STRATEGIES.get(resource.storage, Strategy)(resource)

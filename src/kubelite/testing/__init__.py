"""Clusters for tests: the real API, controllers and scheduler, and simulated nodes, in the process of the test.

`Cluster` is the way in; docs/testing.md teaches it.
"""

from kubelite.api.client.protocol import Client, Mirror, Object, ResourceClient
from kubelite.node.simulated.settings import Match, Rule
from kubelite.testing.blocking import BlockingCluster
from kubelite.testing.clock import ClusterClock
from kubelite.testing.cluster import Cluster
from kubelite.testing.nodes import Nodes
from kubelite.testing.waiting import NotReached

__all__ = [
    "BlockingCluster",
    "Client",
    "Cluster",
    "ClusterClock",
    "Match",
    "Mirror",
    "Nodes",
    "NotReached",
    "Object",
    "ResourceClient",
    "Rule",
]

"""The mirrors of what can be given out: slices by node and pool, and classes."""

from collections.abc import Sequence

from kubelite.api.client.protocol import Client
from kubelite.api.kinds.resource import DeviceClass, ResourceSlice
from kubelite.control.scheduler.devices.pools import Pool, PoolKey, gathered, is_relevant, pool_key
from kubelite.control.scheduler.node_info import NodeInfo

NODE_INDEX, POOL_INDEX = "node of a slice", "pool of a slice"
SLICE_STEPS = 10  # what looking at a slice takes


class Offers:
    """What drivers offer, as pools of a node."""

    def __init__(self, mirrors: Client) -> None:
        self.slices = mirrors.mirror(ResourceSlice)
        self.classes = mirrors.mirror(DeviceClass)
        self.slices.add_index(NODE_INDEX, _place)
        self.slices.add_index(POOL_INDEX, lambda one: ["/".join(pool_key(one))])

    def of(self, key: PoolKey) -> Sequence[ResourceSlice]:
        """Return the slices of a pool, of all generations."""
        return self.slices.indexed(POOL_INDEX, "/".join(key))

    def class_of(self, name: str) -> DeviceClass | None:
        """Return a device class."""
        return self.classes.get(name)

    def steps(self, node: NodeInfo) -> int:
        """Return about how many steps `pools` takes."""
        return SLICE_STEPS * (1 + len(self._near(node)))

    def pools(self, node: NodeInfo) -> list[Pool]:
        """Return the pools with devices for a node."""
        return gathered((one for one in self._near(node) if is_relevant(one, node)), self)

    def _near(self, node: NodeInfo) -> Sequence[ResourceSlice]:
        own = self.slices.indexed(NODE_INDEX, node.name)
        return [*own, *self.slices.indexed(NODE_INDEX, "")]


def _place(one: ResourceSlice) -> Sequence[str]:
    """Return the node whose slice it is; "" for one that may be for any node."""
    spec = one.spec
    return [spec.nodeName if spec.nodeName and not spec.sharedCounters else ""]

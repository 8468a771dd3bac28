"""What CSI drivers say of nodes: how many volumes they can attach, and how much storage they can reach."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from kubelite.api.client.protocol import Client, Mirror
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.storage import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    StorageClass,
    VolumeAttachment,
)
from kubelite.api.machinery.csi_volumes import unique_name
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.control.scheduler.filters import Rejection
from kubelite.control.scheduler.node_info import NodeInfo
from kubelite.control.selection import matcher

TOO_MANY_VOLUMES = Rejection(
    "NodeVolumeLimits", ["node(s) exceed max volume count"], resolvable=True
)
NO_SPACE = Rejection(
    "VolumeBinding", ["node(s) did not have enough free storage"], resolvable=False
)
NODE_INDEX, CLASS_INDEX = "node", "storage class"

CSIVolume = tuple[str, str]  # unique name and driver


def csi_volume(volume: PersistentVolume) -> CSIVolume | None:
    """Return the unique name and the driver of a CSI volume, None for another type."""
    source = volume.spec.csi
    return (
        None if source is None else (unique_name(source.driver, source.volumeHandle), source.driver)
    )


def future_volume(claim: PersistentVolumeClaim, storage_class: StorageClass) -> CSIVolume:
    """Return a unique name for the volume that a provisioner will create, and its driver, as upstream counts it."""
    driver = storage_class.provisioner
    meta = claim.metadata
    return unique_name(driver, f"{driver}-{meta.namespace}/{meta.name}"), driver


def limits_of(node: CSINode | None) -> dict[str, int]:
    """Return how many volumes a node can attach, by driver; a driver without a limit is not listed."""
    return {
        driver.name: driver.allocatable.count
        for driver in (node.spec.drivers if node is not None else ())
        if driver.allocatable is not None and driver.allocatable.count is not None
    }


def exceeds(limits: Mapping[str, int], new: Sequence[CSIVolume], old: Mapping[str, str]) -> bool:
    """Return whether the new volumes are more than a driver's limit allows; `old` has drivers by unique name."""
    wanted = {name: driver for name, driver in new if name not in old and driver in limits}
    counts = Counter(old.values())
    return any(
        counts[driver] + more > limits[driver] for driver, more in Counter(wanted.values()).items()
    )


class CSIFacts:
    """The mirrors of what CSI drivers say of nodes and storage."""

    def __init__(self, mirrors: Client) -> None:
        self.nodes = mirrors.mirror(CSINode)
        self.drivers = mirrors.mirror(CSIDriver)
        self.attachments = mirrors.mirror(VolumeAttachment)
        self.attachments.add_index(NODE_INDEX, lambda one: (one.spec.nodeName,))
        self.capacities = mirrors.mirror(CSIStorageCapacity)
        self.capacities.add_index(CLASS_INDEX, lambda one: (one.storageClassName,))

    def attached(self, node: str, volumes: Mirror[PersistentVolume]) -> Iterator[CSIVolume]:
        """Yield the volumes with an attachment to a node; those that `volumes` does not know are skipped."""
        for attachment in self.attachments.indexed(NODE_INDEX, node):
            volume = volumes.get(attachment.spec.source.persistentVolumeName or "")
            if volume is not None and (known := csi_volume(volume)) is not None:
                yield known

    def steps(self, storage_class: str) -> int:
        """Return about how many steps `has_space` takes."""
        return len(self.capacities.indexed(CLASS_INDEX, storage_class))

    def has_space(
        self, claim: PersistentVolumeClaim, storage_class: StorageClass, node: NodeInfo
    ) -> bool:
        """Return whether some storage that a node reaches has room for a claim; if the driver does not tell, it has."""
        driver = self.drivers.get(storage_class.provisioner)
        wanted = claim.spec.resources.requests.get("storage")
        if driver is None or not driver.spec.storageCapacity or wanted is None:
            return True
        size = parse_quantity(wanted)
        return any(
            parse_quantity(limit) >= size
            and capacity.nodeTopology is not None
            and matcher(capacity.nodeTopology)(node.labels)
            for capacity in self.capacities.indexed(CLASS_INDEX, storage_class.metadata.name)
            if (limit := capacity.maximumVolumeSize or capacity.capacity)
        )


def is_allowed(storage_class: StorageClass, labels: Mapping[str, str]) -> bool:
    """Return whether the topology of a node is one in which volumes of a class may be provisioned."""
    terms = storage_class.allowedTopologies
    return not terms or any(
        all(labels.get(one.key) in one.values for one in term.matchLabelExpressions)
        for term in terms
        if term.matchLabelExpressions
    )

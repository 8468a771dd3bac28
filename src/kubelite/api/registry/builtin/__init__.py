"""The table of all built-in resources, group by group, in the order of discovery."""

from kubelite.api.registry.builtin.access import CERTIFICATES, IDENTITIES, RBAC
from kubelite.api.registry.builtin.cluster import OTHERS
from kubelite.api.registry.builtin.core import CORE, EVENTS
from kubelite.api.registry.builtin.extensions import ADMISSION, APISERVICES, CUSTOM
from kubelite.api.registry.builtin.metrics import METRICS
from kubelite.api.registry.builtin.networking import NETWORKING
from kubelite.api.registry.builtin.storage import STORAGE
from kubelite.api.registry.builtin.workloads import APPS, AUTOSCALING, BATCH, POLICY
from kubelite.api.registry.table import ResourceTable

RESOURCES = (
    *CORE,
    *APISERVICES,
    *APPS,
    *EVENTS,
    *IDENTITIES,
    *AUTOSCALING,
    *BATCH,
    *CERTIFICATES,
    *NETWORKING,
    *POLICY,
    *RBAC,
    *STORAGE,
    *ADMISSION,
    *CUSTOM,
    *OTHERS,
)


# Prefixes of objects that are written all the time, such as heartbeats. Their changes must not displace those of other
# objects from the history that the store keeps.
HEARTBEATS = frozenset(
    row.prefix for row in RESOURCES if row.storage in ("leases.coordination.k8s.io", "events.core")
)


def builtin_table(*, metrics: bool = False) -> ResourceTable:
    """Return a new table of all built-in resources; `metrics`: those of metrics.k8s.io too, which come last."""
    return ResourceTable((*RESOURCES, *METRICS) if metrics else RESOURCES)

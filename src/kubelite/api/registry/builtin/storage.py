"""The rows of storage.k8s.io."""

from kubelite.api.kinds import storage
from kubelite.api.machinery.columns import extensions as extensions_columns
from kubelite.api.machinery.defaults import storage as storage_defaults
from kubelite.api.registry.builtin.row import row
from kubelite.api.registry.rules import storage as storage_rules
from kubelite.api.registry.rules.sets import Rules, Warnings, always
from kubelite.api.registry.rules.warnings import storage as storage_warnings
from kubelite.api.registry.strategy import Conduct

STORAGE = (
    row(
        storage.CSIDriver,
        "csidrivers",
        cluster=True,
        rules=Rules(storage_rules.csi_driver, storage_rules.csi_driver_update),
        warnings=Warnings(storage_warnings.driver, storage_warnings.driver_update),
        defaults=storage_defaults.default_csi_driver,
        layout=extensions_columns.CSI_DRIVER,
        conduct=Conduct(conditional=True, answered_whole=True),
    ),
    row(
        storage.CSINode,
        "csinodes",
        cluster=True,
        rules=Rules(storage_rules.csi_node),
        layout=extensions_columns.CSI_NODE,
        conduct=Conduct(conditional=True, answered_whole=True),
    ),
    row(
        storage.CSIStorageCapacity,
        "csistoragecapacities",
        rules=Rules(storage_rules.capacity, storage_rules.capacity_update),
        warnings=always(storage_warnings.capacity),
        layout=extensions_columns.CSI_STORAGE_CAPACITY,
        conduct=Conduct(conditional=True),
    ),
    row(
        storage.StorageClass,
        "storageclasses",
        cluster=True,
        short=("sc",),
        rules=Rules(storage_rules.storage_class, storage_rules.storage_class_update),
        warnings=always(storage_warnings.storage_class),
        defaults=storage_defaults.default_storage_class,
        layout=extensions_columns.STORAGE_CLASS,
        conduct=Conduct(answered_whole=True),
    ),
    row(
        storage.VolumeAttachment,
        "volumeattachments",
        "status",
        cluster=True,
        rules=Rules(storage_rules.attachment, storage_rules.attachment_update),
        defaults=storage_defaults.default_volume_attachment,
        layout=extensions_columns.VOLUME_ATTACHMENT,
        conduct=Conduct(conditional=True, answered_whole=True),
    ),
    row(
        storage.VolumeAttributesClass,
        "volumeattributesclasses",
        cluster=True,
        short=("vac",),
        rules=Rules(storage_rules.attributes_class, storage_rules.attributes_class_update),
        layout=extensions_columns.VOLUME_ATTRIBUTES_CLASS,
        conduct=Conduct(answered_whole=True),
    ),
)

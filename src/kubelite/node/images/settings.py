"""How a node gets its images."""

from msgspec import Struct

from kubelite.node.images.collection import CollectionPolicy
from kubelite.node.images.credential_config import CredentialProvider
from kubelite.node.images.registries import Registries
from kubelite.node.images.verification import Verification

PULLS_AT_ONCE = 4


class ImageSettings(Struct, frozen=True):
    """The settings of one node."""

    pulls_at_once: int = PULLS_AT_ONCE
    registries: Registries = Registries()
    verification: Verification = Verification()
    collection: CollectionPolicy = CollectionPolicy()
    pulls_per_second: int = 5  # 0: as many as there are
    pulls_burst: int = 10
    credential_providers: tuple[CredentialProvider, ...] = ()

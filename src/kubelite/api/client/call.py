"""One request of a component, before it is known how it reaches the server."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from kubelite.api.client.protocol import PatchType, Propagation
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.kinds.resource_names import ResourceName

Of = ResourceName | GroupVersionKind  # what a call is about


class Call(Struct, frozen=True, kw_only=True):
    """A verb on a resource or on one of its objects; `body` is the object or the patch, in wire form."""

    verb: str  # as in `auth.caller.Attributes`
    of: Of
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    label_selector: str = ""
    field_selector: str = ""
    body: Any = None
    patch_type: PatchType = "merge"
    force: bool = False
    uid: str = ""  # preconditions and options of a delete
    resource_version: str = ""
    grace_seconds: int | None = None
    propagation: Propagation = ""
    parameters: Mapping[str, str] = {}  # others, for the server of another group

    @property
    def selectors(self) -> dict[str, str]:
        """The selectors by the name of their parameter, without empty ones."""
        selectors = {"fieldSelector": self.field_selector, "labelSelector": self.label_selector}
        return {name: text for name, text in selectors.items() if text}

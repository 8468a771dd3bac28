"""The paths of OpenAPI besides resources: discovery, the server's version, its signing keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from kubelite.api.kinds.meta import APIGroup, APIGroupList, APIResourceList, APIVersions
from kubelite.api.kinds.model import Model
from kubelite.api.machinery.openapi import Definitions, Served
from kubelite.api.machinery.openapi_custom import JSON
from kubelite.api.machinery.openapi_operations import group_name, tag_of
from kubelite.api.machinery.schema import compile_struct

_JSON = ("application/json",)
_OBJECT = (*_JSON, "application/yaml")


class ServedPage(Struct, frozen=True):
    """A path that returns a document for GET."""

    path: str
    tag: str
    identifier: str
    about: str
    type: type[Model] | None = None  # None: plain text, or the version document
    produces: tuple[str, ...] = _OBJECT

    @property
    def document(self) -> str:
        """Return the path of the version 3 document that describes the page."""
        return self.path.strip("/")

    def answer(self, definitions: Definitions) -> JSON:
        """Return the schema of the response."""
        if self.type is not None:
            return definitions.reference(compile_struct(self.type))
        return definitions.version() if self is VERSION else {"type": "string"}


API = ServedPage(
    "/api/", "core", "getCoreAPIVersions", "list the versions of the core API", APIVersions
)
APIS = ServedPage("/apis/", "apis", "getAPIVersions", "list the groups of the API", APIGroupList)
VERSION = ServedPage(
    "/version/", "version", "getCodeVersion", "say which version the server has", produces=_JSON
)
IDENTITY = (
    ServedPage(
        "/.well-known/openid-configuration/",
        "WellKnown",
        "getServiceAccountIssuerOpenIDConfiguration",
        "describe the issuer of service account tokens, as OpenID Connect discovery does",
        produces=_JSON,
    ),
    ServedPage(
        "/openid/v1/jwks/",
        "openid",
        "getServiceAccountIssuerOpenIDKeyset",
        "list the public keys that prove service account tokens",
        produces=("application/jwk-set+json",),
    ),
)
SERVER = (API, APIS, VERSION)


def discovery_pages(rows: Iterable[Served]) -> Iterator[ServedPage]:
    """Yield the pages of the groups and versions of some resources; those of custom resources are not documented."""
    versions = dict.fromkeys((row.group, row.version) for row in rows if not row.custom)
    for group in dict.fromkeys(group for group, _ in versions if group):
        yield ServedPage(
            f"/apis/{group}/",
            tag_of(group),
            f"get{group_name(group)}APIGroup",
            f"list the versions of the group {group}",
            APIGroup,
        )
    for group, version in versions:
        yield version_page(group, version)


def version_page(group: str, version: str) -> ServedPage:
    """Return the page that lists the resources of a group version."""
    return ServedPage(
        f"/apis/{group}/{version}/" if group else f"/api/{version}/",
        f"{tag_of(group)}_{version}",
        f"get{group_name(group)}{version.title()}APIResources",
        f"list the resources of {group}/{version}" if group else f"list the resources of {version}",
        APIResourceList,
    )

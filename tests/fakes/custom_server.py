"""Definitions of custom resources in a server without controllers."""

from typing import Any

from fakes.server import Server

JSON = dict[str, Any]
CRDS = "apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "example.com"


def version(name: str = "v1", *, storage: bool = True, **fields: Any) -> JSON:
    """Return a version whose objects have a spec of any fields, unless `schema` says what they have."""
    schema = fields.pop(
        "schema", {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    )
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": schema}},
        **fields,
    }


def definition(*versions: JSON, kind: str = "Cat", **spec: Any) -> JSON:
    """Return a namespaced definition of a kind."""
    plural = f"{kind.lower()}s"
    return {
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "plural": plural,
                "singular": kind.lower(),
                "kind": kind,
                "listKind": f"{kind}List",
            },
            "versions": list(versions or [version()]),
            **spec,
        },
    }


async def define(server: Server, made: JSON) -> JSON:
    """Create or replace a definition, and accept its names as its controller does."""
    name = made["metadata"]["name"]
    if name in server.names(CRDS):
        stored = server.get(CRDS, name)
        stored["spec"] = made["spec"]
        stored = await server.update(CRDS, name, stored)
    else:
        stored = await server.create(CRDS, made)
    stored["status"]["acceptedNames"] = stored["spec"]["names"]
    stored["status"]["conditions"] = [
        {"type": type_, "status": "True", "reason": "Made", "message": ""}
        for type_ in ("NamesAccepted", "Established")
    ]
    return await server.update(f"{CRDS}/status", name, stored)

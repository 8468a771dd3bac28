"""Params of policies: by name and by selector, of kinds that come and go."""

from typing import Any

import pytest
from fakes.custom_server import define, definition
from fakes.policed import Policed
from fakes.server import Server

from kubelite.api.errors import APIError

JSON = dict[str, Any]
MAPS = "v1/configmaps"
OF_MAPS = {"apiVersion": "v1", "kind": "ConfigMap"}
ABOUT_SECRETS = {
    "resourceRules": [
        {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"]}
    ]
}


def config_map(name: str, value: str, **labels: str) -> JSON:
    return {"metadata": {"name": name, "labels": labels}, "data": {"max": value}}


async def refusal(server: Server) -> str:
    with pytest.raises(APIError) as refused:
        await server.create("v1/secrets", {"metadata": {"name": "s"}})
    return refused.value.message.partition(" denied request: ")[2]


async def passes(server: Server) -> None:
    await server.create("v1/secrets", {"metadata": {"name": "s"}}, dry_run=True)


async def about_secrets(server: Policed, expression: str | JSON, **reference: Any) -> None:
    await server.policy(expression, matchConstraints=ABOUT_SECRETS, paramKind=OF_MAPS)
    await server.bind(paramRef={"parameterNotFoundAction": "Deny", **reference})


async def test_params_by_name_are_those_of_the_requests_namespace(server: Policed) -> None:
    await about_secrets(
        server, "params.data.max == '1' && params.kind == 'ConfigMap'", name="limits"
    )
    missing = "no params found for policy binding with `Deny` parameterNotFoundAction"
    assert await refusal(server) == f"failed to configure binding: {missing}"
    await server.create(MAPS, config_map("limits", "2"))
    assert (await refusal(server)).startswith("failed expression")
    await server.patch(MAPS, "limits", {"data": {"max": "1"}})
    await passes(server)
    await server.delete(MAPS, "limits")
    await refusal(server)


async def test_params_by_selector_are_asked_one_after_the_other(server: Policed) -> None:
    message = {
        "expression": "params.data.max == '1'",
        "messageExpression": "string(params.metadata.name)",
    }
    await about_secrets(server, message, selector={"matchLabels": {"a": "b"}})
    for name, value, label in (("x", "1", "b"), ("z", "3", "b"), ("y", "2", "b"), ("u", "9", "c")):
        await server.create(MAPS, config_map(name, value, a=label))
    assert await refusal(server) == "y"


async def test_missing_params_may_be_allowed(server: Policed) -> None:
    await about_secrets(server, "false", name="limits", parameterNotFoundAction="Allow")
    await passes(server)


async def test_a_binding_without_a_reference_has_null_params(server: Policed) -> None:
    await server.policy("params == null", matchConstraints=ABOUT_SECRETS, paramKind=OF_MAPS)
    await server.bind()
    await passes(server)


async def test_params_in_namespaces_need_one(server: Policed) -> None:
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["nodes"]}
    await server.policy("false", matchConstraints={"resourceRules": [rule]}, paramKind=OF_MAPS)
    await server.bind(paramRef={"name": "a", "parameterNotFoundAction": "Allow"})
    with pytest.raises(APIError, match="cannot use namespaced paramRef in policy binding"):
        await server.create("v1/nodes", {"metadata": {"name": "n"}})


async def test_params_of_the_cluster_have_no_namespace(server: Policed) -> None:
    kind = {"apiVersion": "v1", "kind": "Node"}
    await server.policy(
        "params.metadata.name == 'n'", matchConstraints=ABOUT_SECRETS, paramKind=kind
    )
    reference = {"name": "n", "parameterNotFoundAction": "Deny"}
    await server.bind(paramRef=reference)
    await server.create("v1/nodes", {"metadata": {"name": "n"}})
    await passes(server)
    await server.bind(paramRef={**reference, "namespace": "default"}, name="c")
    assert "must not be provided for a cluster-scoped `paramKind`" in await refusal(server)


async def test_params_of_a_deleted_definition(server: Policed) -> None:
    kind = {"apiVersion": "example.com/v1", "kind": "Cat"}
    await server.policy("params.spec.max == 1", matchConstraints=ABOUT_SECRETS, paramKind=kind)
    await server.bind(paramRef={"name": "tom", "parameterNotFoundAction": "Deny"})
    unknown = "failed to find resource referenced by paramKind: 'example.com/v1, Kind=Cat'"
    assert await refusal(server) == f"failed to configure policy: {unknown}"
    await define(server, definition())
    await server.create("example.com/v1/cats", {"metadata": {"name": "tom"}, "spec": {"max": 1}})
    await passes(server)
    server.resources.replace("example.com", ())
    assert await refusal(server) == f"failed to configure policy: {unknown}"


async def test_mirrors_of_params_are_kept_as_long_as_a_policy_needs_them(server: Policed) -> None:
    def mirrored() -> set[str]:
        return {choice.plural for choice in server.mirrors._feeds if choice.type_ is dict}

    await about_secrets(server, "params == null", name="a", parameterNotFoundAction="Allow")
    assert not mirrored()
    await passes(server)
    assert mirrored() == {"configmaps"}
    await server.delete("admissionregistration.k8s.io/v1/validatingadmissionpolicybindings", "b")
    await passes(server)
    assert not mirrored()

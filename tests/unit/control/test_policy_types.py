"""What the status of a validating policy says about the types of its expressions."""

from typing import Any

import pytest
from fakes.definitions import defined
from fakes.harness import Harness
from msgspec.structs import replace

from kubelite.api.kinds.admissionregistration import (
    MatchResources,
    NamedRuleWithOperations,
    ParamKind,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicySpec,
    Validation,
    Variable,
)
from kubelite.api.kinds.apiextensions import JSONSchemaProps
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.custom_definitions import CustomDefinitionController
from kubelite.control.policy_types import PolicyTypeController


def policy(
    *expressions: str, groups: str = "apps", resources: str = "deployments", **spec: Any
) -> ValidatingAdmissionPolicy:
    rule = NamedRuleWithOperations(
        operations=["CREATE"],
        apiGroups=groups.split(","),
        apiVersions=["v1"],
        resources=resources.split(),
    )
    return ValidatingAdmissionPolicy(
        metadata=ObjectMeta(name="p", generation=1),
        spec=ValidatingAdmissionPolicySpec(
            matchConstraints=MatchResources(resourceRules=[rule]),
            validations=[Validation(expression=one) for one in expressions],
            **spec,
        ),
    )


async def warnings(*made: Any) -> list[tuple[str, str]]:
    """Return place and first line of each warning about the last object, a policy."""
    async with Harness(CustomDefinitionController, PolicyTypeController) as harness:
        for item in made:
            await harness.client.create(item)
            await harness.settle()
        stored = harness.client.whole(ValidatingAdmissionPolicy).get("p")
        assert stored.status.observedGeneration == stored.metadata.generation
        assert stored.status.typeChecking is not None
        return [
            (one.fieldRef, one.warning.partition("\n")[0])
            for one in stored.status.typeChecking.expressionWarnings
        ]


FIRST = "spec.validations[0].expression"
WHERE = "apps/v1, Kind=Deployment: ERROR: <input>:1:"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("object.spec.replicas > 1", ""),
        ("object.spec.replica > 1", "12: undefined field 'replica'"),
        ("oldObject.spec.template.spec.containers.all(c, has(c.imag))", "51: undefined field 'imag'"),
        ("object.spec.replicas == 'a'", "22: found no matching overload for '_==_' applied to '(int, string)'"),
        ("object.metadata.labels.anything == 'a'", ""),
        ("object.metadata.namespace == 'a'", "16: undefined field 'namespace'"),
        ("object.metadata.__namespace__ == 'a'", ""),
        ("object.metadata.creationTimestamp.getFullYear() > 2000", ""),
        ("object.spec.strategy.rollingUpdate.maxSurge == 1", ""),
        ("variables.whatever.x == 1", ""),
    ],
)  # fmt: skip
async def test_fields_of_built_in_kinds(expression: str, message: str) -> None:
    made = policy(expression, variables=[Variable(name="whatever", expression="object.nope")])
    assert await warnings(made) == ([(FIRST, WHERE + message)] if message else [])


async def test_each_kind_is_checked() -> None:
    made = policy(
        "object.spec.replicas > 1", "object.spec.nope", resources="deployments daemonsets"
    )
    assert await warnings(made) == [
        (FIRST, "apps/v1, Kind=DaemonSet: ERROR: <input>:1:12: undefined field 'replicas'"),
        (
            "spec.validations[1].expression",
            "apps/v1, Kind=DaemonSet: ERROR: <input>:1:12: undefined field 'nope'",
        ),
    ]


async def test_params_are_typed() -> None:
    made = policy("params.dataa.x == '1'", paramKind=ParamKind(apiVersion="v1", kind="ConfigMap"))
    assert await warnings(made) == [(FIRST, f"{WHERE}7: undefined field 'dataa'")]


@pytest.mark.parametrize(
    ("groups", "resources"), [("*", "deployments"), ("apps", "*"), ("apps", "nothings")]
)
async def test_what_may_be_anything_is_not_checked(groups: str, resources: str) -> None:
    assert await warnings(policy("object.nope", groups=groups, resources=resources)) == []


async def test_a_kind_that_contains_itself_is_empty_inside_of_itself() -> None:
    schema = "object.spec.versions[0].schema.openAPIV3Schema"
    about = {"groups": "apiextensions.k8s.io", "resources": "customresourcedefinitions"}
    assert await warnings(policy(f"{schema}.title == ''", **about)) == []
    assert len(await warnings(policy(f"{schema}.not.title == ''", **about))) == 1


async def test_fields_of_custom_kinds() -> None:
    spec = JSONSchemaProps(type="object", properties={"size": JSONSchemaProps(type="integer")})
    schema = JSONSchemaProps(type="object", properties={"spec": spec})
    made = policy("object.spec.sice == 1", groups="example.com", resources="cats")
    assert await warnings(defined("cats", kind="Cat", schema=schema), made) == [
        (FIRST, "example.com/v1, Kind=Cat: ERROR: <input>:1:12: undefined field 'sice'")
    ]


async def test_a_policy_is_checked_once_per_generation() -> None:
    async with Harness(PolicyTypeController) as harness:
        await harness.client.create(policy("object.nope"))
        await harness.settle()
        stored = harness.client.whole(ValidatingAdmissionPolicy).get("p")
        before = len(harness.client.writes)
        metadata = replace(stored.metadata, labels={"a": "b"})
        await harness.client.update(replace(stored, metadata=metadata))
        await harness.settle()
        assert len(harness.client.writes) == before + 1

"""The conditions and accepted names of custom resource definitions."""

import base64
from typing import Any

import pytest
from fakes.definitions import defined, stored, told
from fakes.harness import Harness
from msgspec.structs import replace

from kubelite.api.errors import Conflict, Forbidden
from kubelite.api.kinds.apiextensions import (
    CustomResourceConversion,
    CustomResourceDefinition,
    CustomResourceDefinitionNames,
    JSONSchemaProps,
    WebhookClientConfig,
    WebhookConversion,
)
from kubelite.control.custom_definitions import CustomDefinitionController

ACCEPTED = ("True", "NoConflicts", "no conflicts found")
ESTABLISHED = ("True", "InitialNamesAccepted", "the initial names have been accepted")
NOT_ACCEPTED = ("False", "NotAccepted", "not all names are accepted")


async def test_a_new_definition_is_established_by_one_write() -> None:
    async with Harness(CustomDefinitionController) as harness:
        await harness.client.create(defined("alphas", kind="Alpha", shortNames=["al"]))
        await harness.settle()
        assert told(harness.client, "alphas.example.com") == {
            "NamesAccepted": ACCEPTED,
            "Established": ESTABLISHED,
        }
        definition = stored(harness.client, "alphas.example.com")
        assert definition is not None
        assert [each.type for each in definition.status.conditions] == [
            "NamesAccepted",
            "Established",
        ]
        assert definition.status.acceptedNames == definition.spec.names
        assert [verb for verb, _, _ in harness.client.writes] == ["create", "status"]


async def test_nothing_is_written_when_all_is_right() -> None:
    async with Harness(CustomDefinitionController) as harness:
        await harness.client.create(defined("alphas"))
        await harness.settle()
        definition = stored(harness.client, "alphas.example.com")
        assert definition is not None
        before = len(harness.client.writes)
        metadata = replace(definition.metadata, labels={"a": "b"})
        await harness.client.update(replace(definition, metadata=metadata))
        await harness.settle()
        assert len(harness.client.writes) == before + 1


async def test_the_first_keeps_a_name_until_it_goes() -> None:
    async with Harness(CustomDefinitionController) as harness:
        await harness.client.create(defined("firsts", kind="Same"))
        await harness.client.create(defined("seconds", kind="Same"))
        await harness.settle()
        assert told(harness.client, "firsts.example.com")["Established"] == ESTABLISHED
        assert told(harness.client, "seconds.example.com") == {
            "NamesAccepted": ("False", "ListKindConflict", '"SameList" is already in use'),
            "Established": NOT_ACCEPTED,
        }
        second = stored(harness.client, "seconds.example.com")
        assert second is not None
        assert second.status.acceptedNames == CustomResourceDefinitionNames(plural="seconds")
        await harness.client.delete(CustomResourceDefinition, "firsts.example.com")
        await harness.settle()
        assert told(harness.client, "seconds.example.com") == {
            "NamesAccepted": ACCEPTED,
            "Established": ESTABLISHED,
        }


async def test_the_elder_is_asked_first_whatever_its_name() -> None:
    harness = Harness(CustomDefinitionController)
    await harness.client.create(defined("zetas", kind="Same"))
    await harness.client.create(defined("alphas", kind="Same"))
    async with harness:
        assert told(harness.client, "zetas.example.com")["Established"] == ESTABLISHED
        assert told(harness.client, "alphas.example.com")["Established"] == NOT_ACCEPTED


async def test_groups_share_no_names() -> None:
    async with Harness(CustomDefinitionController) as harness:
        for group in ("a.com", "b.com"):
            await harness.client.create(defined("sames", group=group))
        await harness.settle()
        for group in ("a.com", "b.com"):
            assert told(harness.client, f"sames.{group}")["Established"] == ESTABLISHED


async def test_a_name_that_is_given_up_goes_to_the_next() -> None:
    async with Harness(CustomDefinitionController) as harness:
        await harness.client.create(defined("firsts", kind="First", shortNames=["x", "y"]))
        await harness.client.create(defined("seconds", kind="Second", shortNames=["y"]))
        await harness.settle()
        assert told(harness.client, "seconds.example.com")["NamesAccepted"] == (
            "False",
            "ShortNamesConflict",
            '"y" is already in use',
        )
        first = stored(harness.client, "firsts.example.com")
        assert first is not None
        names = replace(first.spec.names, shortNames=[])
        await harness.client.update(replace(first, spec=replace(first.spec, names=names)))
        await harness.settle()
        first = stored(harness.client, "firsts.example.com")
        assert first is not None
        assert first.status.acceptedNames.shortNames == []
        assert told(harness.client, "seconds.example.com")["NamesAccepted"] == ACCEPTED


async def test_a_refused_write_holds_up_no_other_definition_and_takes_no_name() -> None:
    harness = Harness(CustomDefinitionController)
    refused = [Forbidden("no"), Conflict("changed")]
    harness.client.refuse = lambda verb, _: refused.pop() if verb == "patch" and refused else None
    for plural, kind in (("firsts", "Same"), ("seconds", "Same"), ("thirds", "Third")):
        await harness.client.create(defined(plural, kind=kind))
    async with harness:
        writes = [name for verb, _, name in harness.client.writes if verb == "status"]
        assert writes[0] == "thirds.example.com"
        assert not refused


async def test_a_definition_that_predates_the_rules_is_told_what_is_wrong() -> None:
    async with Harness(CustomDefinitionController) as harness:
        await harness.client.create(defined("olds", schema=JSONSchemaProps()))
        await harness.settle()
        assert told(harness.client, "olds.example.com") == {
            "NamesAccepted": ACCEPTED,
            "Established": ESTABLISHED,
            "NonStructuralSchema": (
                "True",
                "Violations",
                (
                    "spec.versions[0].schema.openAPIV3Schema.type: Required value: "
                    "must not be empty at the root"
                ),
            ),
        }
        await harness.client.patch(
            CustomResourceDefinition,
            "olds.example.com",
            {"spec": {"versions": [{"name": "v1", "served": True, "storage": True}]}},
        )
        await harness.settle()
        assert "NonStructuralSchema" not in told(harness.client, "olds.example.com")


async def test_schemas_are_looked_at_off_the_loop_and_once_a_generation() -> None:
    async with Harness(CustomDefinitionController) as harness:
        await harness.client.create(defined("firsts", kind="Same"))
        await harness.settle()
        before = len(harness.offload.costs)
        await harness.client.create(defined("seconds", kind="Same"))
        await harness.settle()
        assert len(harness.offload.costs) == before + 1
        assert harness.offload.costs[-1] > 300
        await harness.client.create(defined("thirds"))
        await harness.settle()
        assert len(harness.offload.costs) == before + 2


@pytest.mark.parametrize(
    ("bundle", "established"),
    [
        (b"", ESTABLISHED),
        (b"bad", ("False", "InvalidCABundle", "The conversion webhook CABundle is invalid")),
    ],
)
async def test_a_bad_bundle_keeps_a_definition_from_being_served(
    bundle: bytes, established: tuple[str, str, str]
) -> None:
    async with Harness(CustomDefinitionController) as harness:
        definition = defined("hooked")
        config = WebhookClientConfig(url="https://x", caBundle=base64.b64encode(bundle).decode())
        conversion = CustomResourceConversion(
            strategy="Webhook", webhook=WebhookConversion(clientConfig=config)
        )
        spec = replace(definition.spec, conversion=conversion)
        await harness.client.create(replace(definition, spec=spec))
        await harness.settle()
        assert told(harness.client, "hooked.example.com")["Established"] == established


async def test_settled_definitions_of_a_group_are_not_visited_again() -> None:
    async with Harness(CustomDefinitionController) as harness:
        for index in range(30):
            await harness.client.create(defined(f"things{index}"))
        await harness.settle()
        client = harness.client
        asked: list[str] = []
        plain = client.resource

        def resource(group: str, version: str, plural: str) -> Any:
            asked.append(plural)
            return plain(group, version, plural)

        client.resource = resource  # type: ignore[method-assign]  # counts what is read
        await client.create(defined("more"))
        await harness.settle()
        assert len(asked) == 1


async def test_approval_is_told_of_groups_of_kubernetes() -> None:
    async with Harness(CustomDefinitionController) as harness:
        approved = {"api-approved.kubernetes.io": "unapproved, a test"}
        await harness.client.create(defined("thetas", group="x.k8s.io", annotations=approved))
        await harness.settle()
        assert told(harness.client, "thetas.x.k8s.io")["KubernetesAPIApprovalPolicyConformant"] == (
            "False",
            "UnapprovedAnnotation",
            'not approved: "unapproved, a test"',
        )

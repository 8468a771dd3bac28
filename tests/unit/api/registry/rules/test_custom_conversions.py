"""Rules of conversions between the versions of a custom resource."""

from typing import Any

import pytest
from fakes.rule_samples import lines

from kubelite.api.registry.rules.custom_conversions import conversion, has_known_review_version
from kubelite.api.registry.rules.values import Out

CONFIG = {"url": "https://x.example"}
LABEL = "a DNS-1035 label must consist of lower case alphanumeric characters or '-'"


def found(given: dict[str, Any]) -> list[str]:
    out = Out()
    conversion(out, given, recognized=True, bad_ca_bundle=False)
    return lines(out)


def hook(**fields: Any) -> dict[str, Any]:
    webhook = {"clientConfig": CONFIG, "conversionReviewVersions": ["v1"], **fields}
    return {"strategy": "Webhook", "webhook": webhook}


@pytest.mark.parametrize(
    "given", [{"strategy": "None"}, hook(), hook(conversionReviewVersions=["v9", "v1beta1"])]
)
def test_good_ones_pass(given: dict[str, Any]) -> None:
    assert found(given) == []
    assert has_known_review_version(given)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, ["strategy: Required value"]),
        (
            {"strategy": "Magic"},
            ['strategy: Unsupported value: "Magic": supported values: "None", "Webhook"'],
        ),
        (
            {**hook(), "strategy": "None"},
            [
                (
                    "webhookClientConfig: Forbidden: "
                    "should not be set when strategy is not set to Webhook"
                ),
                (
                    "conversionReviewVersions: Forbidden: "
                    "should not be set when strategy is not set to Webhook"
                ),
            ],
        ),
        (
            {"strategy": "Webhook"},
            [
                "webhookClientConfig: Required value: required when strategy is set to Webhook",
                "conversionReviewVersions: Required value",
            ],
        ),
        (
            hook(clientConfig={}),
            ["webhookClientConfig: Required value: exactly one of url or service is required"],
        ),
        (
            hook(clientConfig={"service": {"namespace": "a", "name": "b", "path": "no"}}),
            ["webhookClientConfig.service.path: Invalid value: \"no\": must start with a '/'"],
        ),
        (
            hook(conversionReviewVersions=["v1", "v1"]),
            ['conversionReviewVersions[1]: Invalid value: "v1": duplicate version'],
        ),
        (
            hook(conversionReviewVersions=["v9"]),
            [
                (
                    'conversionReviewVersions: Invalid value: ["v9"]: '
                    "must include at least one of v1, v1beta1"
                )
            ],
        ),
    ],
)
def test_wrong_ones_are_named(given: dict[str, Any], wrong: list[str]) -> None:
    assert found(given) == [f"spec.conversion.{line}" for line in wrong]


def test_review_versions_are_labels() -> None:
    (line,) = found(hook(conversionReviewVersions=["v1", "_"]))
    assert line.startswith(
        f'spec.conversion.conversionReviewVersions[1]: Invalid value: "_": {LABEL}'
    )

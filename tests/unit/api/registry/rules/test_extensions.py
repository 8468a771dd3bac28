"""Rules of webhooks, policies and API services."""

from typing import Any

import pytest
from fakes.rule_samples import changed, lines

from kubelite.api.registry.rules import extensions

RULE = {
    "operations": ["CREATE"],
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "resources": ["pods"],
    "scope": "*",
}
HOOKS = {
    "kind": "ValidatingWebhookConfiguration",
    "webhooks": [
        {
            "name": "a.b.io",
            "rules": [RULE],
            "clientConfig": {"url": "https://hook.example/x"},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 10,
        }
    ],
}
SERVICE = {
    "metadata": {"name": "v1.x.io"},
    "spec": {"group": "x.io", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 15},
}


def test_good_ones_pass() -> None:
    assert lines(extensions.webhooks(HOOKS)) == []
    assert lines(extensions.api_service(SERVICE)) == []


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (
            "webhooks.0.name",
            "short",
            (
                'webhooks[0].name: Invalid value: "short": '
                "should be a domain with at least three segments separated by dots"
            ),
        ),
        (
            "webhooks.0.sideEffects",
            None,
            "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
        ),
        (
            "webhooks.0.clientConfig",
            {},
            "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
        ),
        (
            "webhooks.0.clientConfig.url",
            "http://x",
            (
                'webhooks[0].clientConfig.url: Invalid value: "http": '
                "'https' is the only allowed URL scheme; desired format: https://host[/path]"
            ),
        ),
        (
            "webhooks.0.timeoutSeconds",
            31,
            (
                "webhooks[0].timeoutSeconds: Invalid value: 31: "
                "the timeout value must be between 1 and 30 seconds"
            ),
        ),
    ],
)
def test_wrong_webhooks_are_named(path: str, value: Any, line: str) -> None:
    assert line in lines(extensions.webhooks(changed(HOOKS, path, value)))


@pytest.mark.parametrize(
    ("service", "wrong"),
    [
        ({"name": "a", "namespace": "b"}, []),
        ({"name": "a", "namespace": "b", "path": "/x/y.z/"}, []),
        ({"name": "a", "namespace": "b", "path": "/"}, []),
        # Kubernetes takes the one for the other.
        ({"namespace": "b"}, ["namespace: Required value"]),
        ({"name": "a"}, ["name: Required value"]),
        (
            {"name": "a", "namespace": "b", "path": "/a//b/"},
            ['path: Invalid value: "/a//b/": segment[1] may not be empty'],
        ),
        (
            {"name": "a", "namespace": "b", "path": "//"},
            ['path: Invalid value: "//": segment[0] may not be empty'],
        ),
        (
            {"name": "a", "namespace": "b", "path": "nope"},
            ["path: Invalid value: \"nope\": must start with a '/'"],
        ),
        (
            {"name": "a", "namespace": "b", "port": 70000},
            [
                (
                    "port: Invalid value: 70000: port is not valid: "
                    "must be between 1 and 65535, inclusive"
                )
            ],
        ),
    ],
)
def test_the_service_of_a_webhook(service: dict[str, Any], wrong: list[str]) -> None:
    at = "webhooks[0].clientConfig"
    found = extensions.webhooks(changed(HOOKS, "webhooks.0.clientConfig", {"service": service}))
    assert lines(found) == [f"{at}.service.{line}" for line in wrong]


def test_urls_of_webhooks_are_told_what_they_may_not_have() -> None:
    url = "https://me:secret@hook.example/x?a=b#c"
    found = lines(extensions.webhooks(changed(HOOKS, "webhooks.0.clientConfig.url", url)))
    at = "webhooks[0].clientConfig.url: Invalid value"
    assert found == [
        f'{at}: "me:secret": user information is not permitted in the URL',
        f'{at}: "c": fragments are not permitted in the URL',
        f'{at}: "a=b": query parameters are not permitted in the URL',
    ]


def test_api_services() -> None:
    assert lines(extensions.api_service(changed(SERVICE, "spec.versionPriority", 0))) == [
        "spec.versionPriority: Invalid value: 0: must be positive and less than 1000"
    ]

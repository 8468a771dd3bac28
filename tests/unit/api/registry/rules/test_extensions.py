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


REMOTE = changed(SERVICE, "spec.service", {"name": "metrics", "namespace": "shop", "port": 443})
NAME_DETAIL = 'must be `spec.version+"."+spec.group`: "v1.x.io"'


@pytest.mark.parametrize(
    ("service", "path", "value", "found"),
    [
        (
            SERVICE,
            "metadata.name",
            "v2.x.io",
            [f'metadata.name: Invalid value: "v2.x.io": {NAME_DETAIL}'],
        ),
        (SERVICE, "metadata.name", "v1/x.io", []),  # the rule of names says it already
        (
            SERVICE,
            "metadata.generateName",
            "v1-",
            [f'metadata.generateName: Invalid value: "v1-": {NAME_DETAIL}'],
        ),
        (
            SERVICE,
            "spec.caBundle",
            "QUJD",
            ['spec.caBundle: Invalid value: "3 bytes": local APIServices may not have a caBundle'],
        ),
        (
            SERVICE,
            "spec.caBundle",
            "QQ==",
            ['spec.caBundle: Invalid value: "1 bytes": local APIServices may not have a caBundle'],
        ),
        (
            SERVICE,
            "spec.insecureSkipTLSVerify",
            True,
            [
                (
                    "spec.insecureSkipTLSVerify: Invalid value: true: "
                    "local APIServices may not have insecureSkipTLSVerify"
                )
            ],
        ),
        (REMOTE, "spec.insecureSkipTLSVerify", True, []),
        (REMOTE, "spec.caBundle", "QUJD", []),
        (
            REMOTE,
            "spec.service.port",
            70000,
            [
                (
                    "spec.service.port: Invalid value: 70000: port is not valid: "
                    "must be between 1 and 65535, inclusive"
                )
            ],
        ),
        (
            REMOTE,
            "spec.service.port",
            0,
            [
                (
                    "spec.service.port: Invalid value: 0: port is not valid: "
                    "must be between 1 and 65535, inclusive"
                )
            ],
        ),
        (REMOTE, "spec.service.name", "", ["spec.service.name: Required value"]),
    ],
)
def test_what_an_api_service_may_not_say(
    service: Any, path: str, value: Any, found: list[str]
) -> None:
    assert lines(extensions.api_service(changed(service, path, value))) == found


def test_a_bundle_and_no_verification_exclude_each_other() -> None:
    both = changed(changed(REMOTE, "spec.caBundle", "QUJD"), "spec.insecureSkipTLSVerify", True)
    assert lines(extensions.api_service(both)) == [
        "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present"
    ]


def test_the_status_of_a_condition_is_one_of_three() -> None:
    def of(status: str) -> Any:
        return {"status": {"conditions": [{"type": "Available", "status": status}]}}

    for good in ("True", "False", "Unknown"):
        assert lines(extensions.api_service_status(of(good), {})) == []
    assert lines(extensions.api_service_status(of("Perhaps"), {})) == [
        (
            'status.conditions[0].status: Unsupported value: "Perhaps": '
            'supported values: "True", "False", "Unknown"'
        )
    ]

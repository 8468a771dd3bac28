"""Defaults of admission webhooks and policies."""

from __future__ import annotations

from typing import Any

Fields = dict[str, Any]

HTTPS_PORT = 443
TIMEOUT_SECONDS = 10


def default_validating_webhooks(configuration: Fields) -> None:
    """Set the defaults of each validating webhook."""
    for webhook in configuration.get("webhooks", ()):
        _default_webhook(webhook)


def default_mutating_webhooks(configuration: Fields) -> None:
    """Set the defaults of each mutating webhook."""
    for webhook in configuration.get("webhooks", ()):
        _default_webhook(webhook)
        webhook.setdefault("reinvocationPolicy", "Never")


def _default_webhook(webhook: Fields) -> None:
    webhook.setdefault("failurePolicy", "Fail")
    webhook.setdefault("timeoutSeconds", TIMEOUT_SECONDS)
    _default_matching(webhook)
    for rule in webhook.get("rules", ()):
        rule.setdefault("scope", "*")
    default_service_port(webhook["clientConfig"])


def _default_matching(matching: Fields) -> None:
    matching.setdefault("matchPolicy", "Equivalent")
    matching.setdefault("namespaceSelector", {})
    matching.setdefault("objectSelector", {})


def default_service_port(config: Fields) -> None:
    """Set the default port of the service of a webhook or an aggregated API."""
    if service := config.get("service"):
        service.setdefault("port", HTTPS_PORT)


def default_policy(policy: Fields) -> None:
    """Set the defaults of a validating or mutating policy."""
    policy["spec"].setdefault("failurePolicy", "Fail")
    _default_match_resources(policy["spec"].get("matchConstraints"))


def default_policy_binding(binding: Fields) -> None:
    """Set the defaults of a binding of a policy."""
    _default_match_resources(binding["spec"].get("matchResources"))


def _default_match_resources(matching: Fields | None) -> None:
    if matching is None:
        return
    _default_matching(matching)
    for name in ("resourceRules", "excludeResourceRules"):
        for rule in matching.get(name, ()):
            rule.setdefault("scope", "*")

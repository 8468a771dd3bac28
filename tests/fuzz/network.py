"""Fuzz targets of the node's network: DNS messages, and the rules that objects become."""

import re
from contextlib import suppress
from typing import Any

import msgspec

from fuzz.target import Target, pure
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.networking import NetworkPolicy
from kubelite.net.dns_wire import (
    MESSAGE_LIMIT_BYTES,
    Malformed,
    build_error,
    build_response,
    parse_query,
    parse_response,
)
from kubelite.net.policies import members, policy_rules
from kubelite.net.ruleset import ProxySettings, Ruleset, merge
from kubelite.net.services import host_port_rules, service_rules

SETTINGS = ProxySettings(node_name="node-1")
NAMESPACES = {"default": {"team": "a"}}

# What rules are made of. A name of a chain or set is of objects' names, addresses and numbers.
_NAME = r"[a-z0-9][a-z0-9./-]*"
_ADDRESS = r"\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?"
_PORT = r"(?:\d{1,4}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])"
_WORD = re.compile(
    rf"(?:{_NAME}|@{_NAME}|{_ADDRESS}(?::{_PORT})?|{_PORT}|\d+s|0x[0-9a-f]+|!=|[.{{}}:,]),?"
)
_VALUE = re.compile(rf"|drop|(?:goto|jump) {_NAME}|{_ADDRESS} \. {_PORT}")
_KEY = re.compile(
    rf"(?:{_ADDRESS}|tcp|udp|sctp|\d{{1,5}})(?: \. (?:{_ADDRESS}|tcp|udp|sctp|\d{{1,5}}))*"
)


def ruleset_of(data: bytes) -> Ruleset | None:
    """Turn a JSON document of services, slices, policies and pods into rules, as far as the types allow it."""
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    services = _typed(document.get("services"), Service)
    slices = _typed(document.get("slices"), EndpointSlice)
    pods = _typed(document.get("pods"), Pod)
    policies = _typed(document.get("policies"), NetworkPolicy)
    return merge(
        [
            *(service_rules(service, slices, SETTINGS) for service in services),
            host_port_rules(pods),
            policy_rules(policies, members(pods, "node-1", {}), NAMESPACES),
        ]
    )


def _typed(values: Any, kind: Any) -> list[Any]:
    found = []
    for value in values if isinstance(values, list) else ():
        with suppress(msgspec.ValidationError):
            found.append(msgspec.convert(value, kind))
    return found


def check_rules(data: bytes) -> None:
    """Whatever stands in an object, a rule has only words of the rule language, and each collection only its keys."""
    rules = ruleset_of(data)
    if rules is None:
        return
    for name in (*rules.chains, *rules.sets):
        assert re.fullmatch(_NAME, name, re.ASCII), name
    for rule in (rule for chain in rules.chains.values() for rule in chain):
        for word in rule.split(" "):
            assert _WORD.fullmatch(word), rule
    for (_, key), value in rules.elements.items():
        assert _KEY.fullmatch(key), key
        assert _VALUE.fullmatch(value), value
    for declaration in rules.sets.values():
        assert re.fullmatch(r"[a-z0-9_.,; /{}-]+", declaration), declaration


def check_dns(data: bytes) -> None:
    """A message is read or refused; what is answered fits its limit and begins with the asker's id."""
    with suppress(Malformed):
        parse_response(data)
    with suppress(Malformed):
        query = parse_query(data)
        limit = query.udp_limit_bytes
        assert 512 <= limit <= MESSAGE_LIMIT_BYTES
        assert len(build_response(query, 3, limit_bytes=limit)) <= limit
    error = build_error(data, 1)
    assert error is None or (error[:2] == data[:2] and len(error) <= 512)


TARGETS = (
    Target("dns", pure(check_dns)),
    Target("rules", pure(check_rules), is_json=True, cost=4),
)

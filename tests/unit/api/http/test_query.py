"""Options from queries and DeleteOptions bodies."""

from typing import Any

import pytest

from kubelite.api.errors import BadRequest, Invalid
from kubelite.api.http.query import (
    deletion_options,
    integer,
    manager_of,
    read_options,
    watch_options,
    write_options,
)
from kubelite.api.http.request import parse_query


def test_read_options() -> None:
    options = read_options(
        parse_query(
            "limit=5&continue=abc&labelSelector=a%3Db&resourceVersion=7&resourceVersionMatch=Exact"
        )
    )
    assert (options.limit, options.continue_token, options.label_selector) == (5, "abc", "a=b")
    assert (options.resource_version, options.resource_version_match) == ("7", "Exact")


@pytest.mark.parametrize("value", ["x", "1.5", "--1", "+-1", "\uff11", "99999999999999999999"])
def test_integers_are_checked(value: str) -> None:
    with pytest.raises(BadRequest, match=r"strconv\.ParseInt"):
        integer({"limit": [value]}, "limit")


def test_watch_options_of_one_object() -> None:
    options = watch_options(parse_query("timeoutSeconds=3&allowWatchBookmarks=true"), name="x")
    assert options.field_selector == "metadata.name=x"
    assert (options.timeout_seconds, options.bookmarks, options.send_initial_events) == (
        3,
        True,
        None,
    )


def test_field_manager_comes_from_the_user_agent() -> None:
    assert write_options({}, "CreateOptions", user_agent="kubectl/v1.32").field_manager == "kubectl"
    assert manager_of("a\x07b/c") == "ab"


def test_every_wrong_write_option_is_named_at_once() -> None:
    query = parse_query(f"dryRun=some&fieldValidation=Loose&fieldManager={'x' * 129}")
    with pytest.raises(Invalid) as refused:
        write_options(query, "CreateOptions")
    assert refused.value.message == (
        'CreateOptions.meta.k8s.io "" is invalid: '
        "[fieldManager: Too long: may not be more than 128 bytes, "
        'dryRun: Unsupported value: ["some"]: supported values: "All", '
        'fieldValidation: Unsupported value: "Loose": supported values: "", "Ignore", "Strict", "Warn"]'
    )
    assert [cause.path for cause in refused.value.causes] == [
        "fieldManager",
        "dryRun",
        "fieldValidation",
    ]


def test_apply_needs_a_field_manager_and_only_apply_may_force() -> None:
    with pytest.raises(Invalid, match="is required for apply patch"):
        write_options({}, "PatchOptions", is_apply=True)
    with pytest.raises(Invalid, match="may not be specified for non-apply patch"):
        write_options(parse_query("force=true"), "PatchOptions")
    assert write_options(
        parse_query("force=true&fieldManager=me"), "PatchOptions", is_apply=True
    ).force


@pytest.mark.parametrize(
    ("body", "propagation"),
    [
        ({"propagationPolicy": "Foreground"}, "Foreground"),
        ({"orphanDependents": True}, "Orphan"),
        ({"orphanDependents": False}, "Background"),
        ({}, ""),
    ],
)
def test_propagation(body: dict[str, Any], propagation: str) -> None:
    assert deletion_options({}, body).propagation == propagation


def test_delete_options_of_body_and_query() -> None:
    options = deletion_options(
        {},
        {
            "gracePeriodSeconds": 3,
            "preconditions": {"uid": "u", "resourceVersion": "9"},
            "dryRun": ["All"],
        },
    )
    assert (options.grace_seconds, options.uid, options.resource_version, options.dry_run) == (
        3,
        "u",
        "9",
        True,
    )
    asked = deletion_options(parse_query("gracePeriodSeconds=0&propagationPolicy=Orphan"), None)
    assert (asked.grace_seconds, asked.propagation) == (0, "Orphan")


@pytest.mark.parametrize(
    "body",
    [
        {"propagationPolicy": "Never"},
        {"propagationPolicy": "Orphan", "orphanDependents": True},
        {"dryRun": ["Some"]},
    ],
)
def test_wrong_delete_options(body: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=r"^DeleteOptions\.meta\.k8s\.io "):
        deletion_options({}, body)


def test_delete_options_of_the_wrong_type() -> None:
    with pytest.raises(BadRequest, match="gracePeriodSeconds"):
        deletion_options({}, {"gracePeriodSeconds": True})

"""What containers of simulated pods do: annotations over rules over the kind of pod."""

from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.runtime import ContainerSpec
from kubelite.node.simulated.rules import EXIT, RUN, START, Rules, matches
from kubelite.node.simulated.settings import Match, parse_simulation

JOB = [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u", "controller": True}]


def _pod(**metadata: Any) -> Pod:
    return msgspec.convert(
        {
            "metadata": {"name": "web-1", "namespace": "shop", **metadata},
            "spec": {
                "containers": [{"name": "main", "image": "registry.local/shop/web:2"}],
                "initContainers": [
                    {"name": "first", "image": "init:1"},
                    {"name": "side", "image": "side:1", "restartPolicy": "Always"},
                ],
            },
        },
        Pod,
    )


def _spec(name: str = "main", *command: str) -> ContainerSpec:
    return ContainerSpec("uid", "web-1", "shop", name, 0, "sandbox", "image", command=command)


@pytest.mark.parametrize(
    ("match", "is_wanted"),
    [
        (Match(), True),
        (Match(namespace="sh*"), True),
        (Match(namespace="default"), False),
        (Match(name="web-?"), True),
        (Match(image="*/web:*"), True),
        (Match(image="*/db:*"), False),
        (Match(labels={"app": "w*"}), True),
        (Match(labels={"app": "*", "tier": "*"}), False),
        (Match(owner="Job"), True),
        (Match(owner="ReplicaSet"), False),
    ],
)
def test_matches(match: Match, is_wanted: bool) -> None:
    pod = _pod(labels={"app": "web"}, ownerReferences=JOB)
    assert matches(match, pod) is is_wanted


def test_the_first_rule_that_matches_counts() -> None:
    rules = Rules(
        parse_simulation(
            b"pods: [{match: {name: db-*}, exitCode: 9}, {runSeconds: [1, 2], exitCode: 3}, {exitCode: 4}]"
        )
    )
    found = rules.behaviour(_pod(), _spec())
    assert (found.run_seconds, found.exit_code) == ((1, 2), 3)


def test_annotations_win_over_rules_and_wrong_ones_are_left_out() -> None:
    rules = Rules(parse_simulation(b"pods: [{startSeconds: 5, runSeconds: 9, exitCode: 3}]"))
    found = rules.behaviour(_pod(annotations={START: "0", RUN: "2.5", EXIT: "7"}), _spec())
    assert (found.start_seconds, found.run_seconds, found.exit_code) == ((0, 0), (2.5, 2.5), 7)
    wrong = {START: "soon", RUN: "nan", EXIT: "-1"}
    found = rules.behaviour(_pod(annotations=wrong), _spec())
    assert (found.start_seconds, found.run_seconds, found.exit_code) == ((5, 5), (9, 9), 3)


def test_the_work_of_a_job_ends_unless_its_command_says_when() -> None:
    rules, pod = Rules(parse_simulation(b"")), _pod(ownerReferences=JOB)
    assert rules.behaviour(pod, _spec()).run_seconds == (1, 1)
    assert rules.behaviour(pod, _spec("main", "sleep", "60")).run_seconds is None
    assert rules.behaviour(pod, _spec("main", "false")).run_seconds is None
    assert rules.behaviour(_pod(), _spec()).run_seconds is None


def test_init_containers_end_well_and_sidecars_run_on() -> None:
    rules = Rules(parse_simulation(b"pods: [{runSeconds: 9, exitCode: 3}]"))
    first = rules.behaviour(_pod(), _spec("first"))
    assert first.run_seconds is not None
    assert first.exit_code == 0
    assert rules.behaviour(_pod(), _spec("side")).run_seconds is None


def test_missing_images() -> None:
    rules = Rules(parse_simulation(b"images: {missing: ['*/nope:*']}"))
    assert rules.is_missing("registry.local/nope:1")
    assert not rules.is_missing("registry.local/yes:1")

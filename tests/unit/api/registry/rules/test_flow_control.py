"""Rules of flow control."""

from fakes.rule_samples import changed, lines

from kubelite.api.registry.rules import flow_control

FLOW = {
    "metadata": {"name": "f"},
    "spec": {
        "matchingPrecedence": 500,
        "priorityLevelConfiguration": {"name": "low"},
        "rules": [
            {
                "subjects": [{"kind": "Group", "group": {"name": "*"}}],
                "resourceRules": [
                    {
                        "verbs": ["get"],
                        "apiGroups": ["*"],
                        "resources": ["*"],
                        "clusterScope": True,
                    }
                ],
            }
        ],
    },
}
LEVEL = {
    "metadata": {"name": "low"},
    "spec": {
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": 30,
            "limitResponse": {
                "type": "Queue",
                "queuing": {"queues": 64, "handSize": 6, "queueLengthLimit": 50},
            },
        },
    },
}


def test_good_ones_pass() -> None:
    assert lines(flow_control.flow_schema(FLOW)) == []
    assert lines(flow_control.priority_level(LEVEL)) == []


def test_flow_control() -> None:
    assert lines(flow_control.flow_schema(changed(FLOW, "spec.matchingPrecedence", 1))) == [
        (
            "spec.matchingPrecedence: Invalid value: 1: "
            "only the schema named 'exempt' may have matchingPrecedence 1"
        )
    ]
    queuing = "spec.limited.limitResponse.queuing.handSize"
    assert lines(flow_control.priority_level(changed(LEVEL, queuing, 100))) == [
        f"{queuing}: Invalid value: 100: should not be greater than queues (64)"
    ]


def test_a_hand_may_take_no_more_than_the_bits_of_the_hash() -> None:
    path = "spec.limited.limitResponse.queuing"
    deck = changed(LEVEL, f"{path}.queues", 10_000_000)
    assert lines(flow_control.priority_level(changed(deck, f"{path}.handSize", 2))) == []
    assert lines(flow_control.priority_level(changed(deck, f"{path}.handSize", 3))) == [
        (
            f"{path}.handSize: Invalid value: 3: required entropy bits of "
            "deckSize 10000000 and handSize 3 should not be greater than 60"
        )
    ]
    assert lines(flow_control.priority_level(changed(LEVEL, f"{path}.handSize", 10))) == []
    assert len(lines(flow_control.priority_level(changed(LEVEL, f"{path}.handSize", 11)))) == 1

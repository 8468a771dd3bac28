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

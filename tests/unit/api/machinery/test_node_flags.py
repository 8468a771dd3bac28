import re

import pytest

from kubelite.api.kinds.core.scheduling import Taint
from kubelite.api.machinery.node_flags import FlagInvalid, is_reserved, parse_labels, parse_taints


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("disk", False),
        ("example.org/disk", False),
        ("kubernetes.io/hostname", False),
        ("topology.kubernetes.io/zone", False),
        ("node.kubernetes.io/anything", False),
        ("site.kubelet.kubernetes.io/x", False),
        ("kubernetes.io/anything", True),
        ("k8s.io/anything", True),
        ("x.k8s.io/anything", True),
        ("node-role.kubernetes.io/control-plane", True),
        ("node-restriction.kubernetes.io/secret", True),
        ("x.node-restriction.kubernetes.io/secret", True),
        ("notkubernetes.io/x", False),
    ],
)
def test_reserved_labels(label: str, expected: bool) -> None:
    assert is_reserved(label) is expected


def test_labels_of_flags() -> None:
    assert parse_labels(["disk=ssd", "example.org/a="]) == {"disk": "ssd", "example.org/a": ""}


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["disk"], "malformed label disk, must be KEY=VALUE"),
        (["a=1", "a=2"], "label a is given twice, with different values"),
        (
            ["x.k8s.io/b=", "node-role.kubernetes.io/w=", "fine=1"],
            (
                "unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-label: "
                "[node-role.kubernetes.io/w x.k8s.io/b]"
            ),
        ),
        (["a=b c"], "invalid node labels: 'b c' - a valid label must be an empty string"),
        (["-a=b"], "invalid node labels: '-a' - name part must consist of"),
        (["=b"], "invalid node labels: '' - name part must be non-empty"),
    ],
)
def test_labels_that_no_node_may_give_itself(texts: list[str], reason: str) -> None:
    with pytest.raises(FlagInvalid, match="^" + re.escape(reason)):
        parse_labels(texts)


def test_taints_of_flags() -> None:
    assert parse_taints(["a=b:NoSchedule", "a:NoExecute"]) == (
        Taint(key="a", value="b", effect="NoSchedule"),
        Taint(key="a", effect="NoExecute"),
    )


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["a"], "invalid taint spec: a"),
        (["a=b"], "invalid taint spec: a=b"),
        (["a=b=c:NoSchedule"], "invalid taint spec: a=b=c:NoSchedule"),
        (["a:b:NoSchedule"], "invalid taint spec: a:b:NoSchedule"),
        (["a=b:Never"], "invalid taint effect: Never, unsupported taint effect"),
        ([":NoSchedule"], "invalid taint spec: :NoSchedule, name part must be non-empty"),
        (
            ["a=1:NoSchedule", "a=2:NoSchedule"],
            "duplicated taints with the same key and effect: a=2:NoSchedule",
        ),
    ],
)
def test_taints_that_cannot_be_used(texts: list[str], reason: str) -> None:
    with pytest.raises(FlagInvalid, match="^" + re.escape(reason)):
        parse_taints(texts)

"""Labels and taints with which a node registers, as they are given on a command line.

A node may set labels of Kubernetes' own domains only if they are on a list: NodeRestriction refuses all others, since
they can steer pods and their secrets to the node. The wording of refusals is that of the kubelet's flags.
"""

from collections.abc import Sequence

from kubelite.api.kinds.core.scheduling import Taint
from kubelite.text_formats import label_value, qualified_name

# Labels of Kubernetes' own domains that a kubelet may set on its node, and domains in which it may set any.
KUBELET_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    }
)
KUBELET_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
KUBERNETES_DOMAINS = ("kubernetes.io", "k8s.io")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


class FlagInvalid(ValueError):
    """A label or taint cannot be used; the message says why."""


def is_reserved(label: str) -> bool:
    """Return whether a label is of Kubernetes' own domains and a node may not set it on itself."""
    domain, slash, _ = label.partition("/")
    if not slash or label in KUBELET_LABELS or _is_below(domain, KUBELET_DOMAINS):
        return False
    return _is_below(domain, KUBERNETES_DOMAINS)


def _is_below(domain: str, parents: Sequence[str]) -> bool:
    return any(domain == parent or domain.endswith(f".{parent}") for parent in parents)


def parse_labels(texts: Sequence[str]) -> dict[str, str]:
    """Return the labels of texts ``key=value``. Raises FlagInvalid for a reserved or an invalid one."""
    labels: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise FlagInvalid(f"malformed label {text}, must be KEY=VALUE")
        if labels.setdefault(key, value) != value:
            raise FlagInvalid(f"label {key} is given twice, with different values")
    if reserved := sorted(key for key in labels if is_reserved(key)):
        raise FlagInvalid(
            f"unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-label: [{' '.join(reserved)}]: "
            "labels in the 'kubernetes.io' namespace must begin with an allowed prefix "
            f"({', '.join(sorted(KUBELET_DOMAINS))}) or be in the specifically allowed set "
            f"({', '.join(sorted(KUBELET_LABELS))})"
        )
    for key, value in labels.items():
        for text, findings in ((key, qualified_name(key)), (value, label_value(value))):
            if findings:
                raise FlagInvalid(f"invalid node labels: '{text}' - {', '.join(findings)}")
    return labels


def parse_taints(texts: Sequence[str]) -> tuple[Taint, ...]:
    """Return the taints of texts ``key=value:Effect`` or ``key:Effect``. Raises FlagInvalid."""
    taints = tuple(map(_taint, texts))
    seen: set[tuple[str, str]] = set()
    for taint, text in zip(taints, texts, strict=True):
        if (taint.key, taint.effect) in seen:
            raise FlagInvalid(f"duplicated taints with the same key and effect: {text}")
        seen.add((taint.key, taint.effect))
    return taints


def _taint(text: str) -> Taint:
    place, colon, effect = text.partition(":")
    key, _, value = place.partition("=")
    if not colon or ":" in effect or "=" in value:
        raise FlagInvalid(f"invalid taint spec: {text}")
    if effect not in EFFECTS:
        raise FlagInvalid(f"invalid taint effect: {effect}, unsupported taint effect")
    for findings in (label_value(value), qualified_name(key)):
        if findings:
            raise FlagInvalid(f"invalid taint spec: {text}, {'; '.join(findings)}")
    return Taint(key=key, value=value, effect=effect)

import pytest

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.caller import Attributes, Caller
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.nodes import NodeAuthorizer, NodeGraph
from kubelite.api.auth.rbac import RBAC
from kubelite.api.errors import Forbidden

LOOKUP = FixedLookup()
AUTHORIZER = UnionAuthorizer(RBAC(LOOKUP), NodeAuthorizer(NodeGraph(LOOKUP), []))


def test_masters_may_everything() -> None:
    attributes = Attributes("delete", resource="nodes", name="one")
    allowed = AUTHORIZER.authorize(Caller("root", ("system:masters",)), attributes)
    assert allowed.attributes is attributes


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            Attributes("list", resource="pods", namespace="default"),
            'pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default"',
        ),
        (
            Attributes("get", "apps", "v1", "deployments", "scale", "shop", "web"),
            (
                'deployments.apps "web" is forbidden: User "x" cannot get resource "deployments/scale" '
                'in API group "apps" in the namespace "shop"'
            ),
        ),
        (
            Attributes("get", resource="nodes", name="one"),
            'nodes "one" is forbidden: User "x" cannot get resource "nodes" in API group "" at the cluster scope',
        ),
        (Attributes("get", path="/metrics"), 'forbidden: User "x" cannot get path "/metrics"'),
        (
            Attributes("get", path="/<script>&"),
            'forbidden: User "x" cannot get path "/&lt;script&gt;&amp;"',
        ),
    ],
)
def test_refusals_are_worded_as_upstream(attributes: Attributes, message: str) -> None:
    with pytest.raises(Forbidden) as refused:
        AUTHORIZER.authorize(Caller("x"), attributes)
    assert refused.value.message == message


def test_details_name_the_object() -> None:
    with pytest.raises(Forbidden) as refused:
        AUTHORIZER.authorize(
            Caller("x"), Attributes("get", "apps", "v1", "deployments", "", "a", "web")
        )
    assert refused.value.status()["details"] == {
        "name": "web",
        "group": "apps",
        "kind": "deployments",
    }


def test_node_refusal_says_why() -> None:
    node = Caller("system:node:one", ("system:nodes",))
    attributes = Attributes("get", resource="secrets", namespace="shop", name="theirs")
    with pytest.raises(Forbidden, match="no relationship found between node 'one' and this object"):
        AUTHORIZER.authorize(node, attributes)

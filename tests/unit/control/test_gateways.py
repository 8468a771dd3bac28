"""Without the definitions of the Gateway API its controller follows nothing and writes nothing.

What it does with them is in tests/integration/test_gateway.py, and what it decides in tests/unit/ingress.
"""

from fakes.harness import Harness

from kubelite.control.gateways import GatewayController
from unit.control.test_load_balancers import node, service


async def test_nothing_is_followed_without_the_definitions() -> None:
    async with Harness(GatewayController) as harness:
        await harness.client.create(node("a", "192.0.2.1"))
        await harness.client.create(service())
        harness.client.served.tell()
        await harness.settle()
        assert harness.client.plain == {}
        assert harness.offload.costs == []

"""The tests' DRA driver as a program: every claim gets the one device that a file of the host describes."""

import asyncio
import sys
from pathlib import Path

from kubelite.node.dra.messages import Device
from testbed.dra_driver import DRADriver

DRIVER, POOL, DEVICE = "gpu.example.com", "alpha", "gpu-0"


class OneForAll(dict[str, list[Device]]):
    """The same devices under every name."""

    def get(self, _name: str, _default: object = None) -> list[Device]:
        """Return the device."""
        return [Device(pool_name=POOL, device_name=DEVICE, cdi_device_ids=[f"{DRIVER}/x={DEVICE}"])]


async def main(kubelet: Path) -> None:
    """Serve until the process is killed."""
    driver = DRADriver(kubelet, DRIVER)
    driver.devices = OneForAll()
    await driver.start()
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

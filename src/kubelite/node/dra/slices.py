"""Deletes the ResourceSlices of drivers that are not there: what they offer cannot be prepared.

Source: Kubernetes' pkg/kubelet/cm/dra/plugin.
"""

import asyncio
import logging

from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError
from kubelite.backoff import backoff_seconds

log = logging.getLogger(__name__)

RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS = 1.0, 300.0


async def wipe_slices(client: Client, node: str, driver: str = "") -> None:
    """Delete the slices of one driver, or of all, on a node; try until it is done."""
    selector = f"spec.nodeName={node}"
    if driver:
        selector += f",spec.driver={driver}"
    slices = client.resource("resource.k8s.io", "v1", "resourceslices")
    failures = 0
    while True:
        try:
            await slices.delete_collection(field_selector=selector)
        except APIError as error:
            log.log(
                logging.WARNING if failures == 0 else logging.DEBUG,
                "cannot delete ResourceSlices yet: %s",
                error,
                extra={"node": node, "driver": driver},
            )
        else:
            return
        await asyncio.sleep(backoff_seconds(failures, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS))
        failures += 1

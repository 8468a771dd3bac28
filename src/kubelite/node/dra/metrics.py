"""Figures about resource claims, with the names and labels of Kubernetes (pkg/kubelet/metrics)."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from kubelite.grpc.status import NAMES, Code, GrpcError
from kubelite.metrics import REGISTRY, Row

PREPARE, UNPREPARE = "PrepareResources", "UnprepareResources"
ALL_DRIVERS: Final = "<any>"  # a claim may have devices of several drivers
_FIRST_SECONDS, _LAST_SECONDS, _BOUNDS = 0.1, 40.0, 15
_STEP: Final = (_LAST_SECONDS / _FIRST_SECONDS) ** (1 / (_BOUNDS - 1))
BOUNDS: Final = [round(_FIRST_SECONDS * _STEP**number, 6) for number in range(_BOUNDS)]

OPERATIONS = REGISTRY.histogram(
    "dra_operations_duration_seconds",
    "How long preparing or unpreparing all resource claims of a pod took, by operation and failure.",
    ("operation_name", "is_error"),
    BOUNDS,
)
CALLS = REGISTRY.histogram(
    "dra_grpc_operations_duration_seconds",
    "How long calls of DRA drivers took, by driver, method and status.",
    ("driver_name", "method_name", "grpc_status_code"),
    BOUNDS,
)
CLAIMS_IN_USE = REGISTRY.listing(
    "dra_resource_claims_in_use",
    "Resource claims in use on the node, by driver; <any> counts each claim once.",
    ("driver_name",),
)


@contextmanager
def observed(operation: str) -> Iterator[None]:
    """Observe how long an operation takes, and whether it fails."""
    loop = asyncio.get_running_loop()
    started, is_error = loop.time(), "true"
    try:
        yield
        is_error = "false"
    finally:
        OPERATIONS.labelled(operation, is_error).observe(loop.time() - started)


@contextmanager
def observed_call(driver: str, method: str) -> Iterator[None]:
    """Observe how long a call of a driver takes, and how it ends."""
    loop = asyncio.get_running_loop()
    started, status = loop.time(), Code.CANCELLED
    try:
        yield
        status = Code.OK
    except GrpcError as error:
        status = error.code
        raise
    finally:
        CALLS.labelled(driver, method, NAMES[status]).observe(loop.time() - started)


def claims_in_use(drivers: Iterable[Collection[str]]) -> list[Row]:
    """Return the rows for claims, of each of which the drivers are given."""
    counts = Counter({ALL_DRIVERS: 0})
    for names in drivers:
        counts.update((ALL_DRIVERS, *names))
    return [((name,), float(count)) for name, count in counts.items()]

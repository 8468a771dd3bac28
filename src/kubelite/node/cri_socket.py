"""Asks whether an engine of CRI answers on a socket, by one call of its Version.

That HTTP/2 is spoken there would not do: the containerd that comes with Docker may have its CRI part switched off, and
one that has just started refuses all calls until it has recovered its sandboxes.
"""

from pathlib import Path

ANSWER_SECONDS = 2.0


async def cri_answers(socket: Path) -> bool:
    """Return whether an engine of CRI answers on a socket, within `ANSWER_SECONDS`."""
    from kubelite.grpc.client import GrpcClient
    from kubelite.grpc.status import GrpcError
    from kubelite.node.cri.messages import VERSION, Nothing

    client = GrpcClient(socket)
    try:
        await client.unary(VERSION, Nothing(), timeout_seconds=ANSWER_SECONDS)
    except GrpcError:
        return False
    finally:
        await client.close()
    return True

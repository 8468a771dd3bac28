"""Creates and deletes an owner's pods and records events, in Kubernetes' wording."""

from typing import Any

from kubelite.api.client.events import NORMAL, WARNING
from kubelite.api.errors import APIError, Forbidden, NotFound
from kubelite.api.kinds.core.pods import Pod
from kubelite.control.batches import NAMESPACE_TERMINATING
from kubelite.control.runtime import Context


async def create_pod(context: Context, owner: Any, pod: Pod) -> APIError | None:
    """Create a pod; return the failure, or None, also if the namespace is terminating: a retry cannot succeed."""
    try:
        created = await context.client.create(pod)
    except APIError as error:
        if isinstance(error, Forbidden) and NAMESPACE_TERMINATING in error.message:
            return None
        context.events.event(owner, WARNING, "FailedCreate", f"Error creating: {error.message}")
        return error
    message = f"Created pod: {created.metadata.name}"
    context.events.event(owner, NORMAL, "SuccessfulCreate", message)
    return None


async def delete_pod(context: Context, owner: Any, pod: Pod) -> APIError | None:
    """Delete the pod with this uid, not a successor of its name; return the failure, or None."""
    meta = pod.metadata
    try:
        await context.client.delete(Pod, meta.name, meta.namespace, uid=meta.uid)
    except NotFound:
        return None
    except APIError as error:
        context.events.event(owner, WARNING, "FailedDelete", f"Error deleting: {error.message}")
        return error
    context.events.event(owner, NORMAL, "SuccessfulDelete", f"Deleted pod: {meta.name}")
    return None

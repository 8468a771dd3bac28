"""Reads the pull secrets of pods."""

import logging
from collections.abc import Sequence

from kubelite.api.client.events import WARNING, EventRecorder
from kubelite.api.errors import APIError, NotFound
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.images.logins import Login, LoginUnreadable, logins_of
from kubelite.node.pod_config import PodConfig
from kubelite.node.pods import pod_key, reference_to
from kubelite.node.runtime import ImagePullFailed

log = logging.getLogger(__name__)


class PullSecrets:
    """The logins in the pull secrets of pods."""

    def __init__(self, reads: PodConfig, events: EventRecorder) -> None:
        self._reads = reads
        self._events = events

    async def logins(self, pod: Pod) -> list[Sequence[Login]]:
        """Return the logins of each pull secret; one that is missing or unreadable gets an event.

        Raises ImagePullFailed when the API does not answer: without the login the registry's refusal would hide why.
        """
        found: list[Sequence[Login]] = []
        failed = []
        for name in (reference.name for reference in pod.spec.imagePullSecrets if reference.name):
            try:
                found.append(logins_of(await self._reads.get(pod, Secret, name)))
            except NotFound:
                failed.append(name)
            except LoginUnreadable:
                failed.append(name)
                about = {"pod": pod_key(pod), "secret": name}
                log.warning("cannot read a pull secret", extra=about)
            except APIError as error:
                message = f'cannot read pull secret "{name}": {error.message}'
                raise ImagePullFailed(message) from error
        if failed:
            message = (
                f"Unable to retrieve some image pull secrets ({', '.join(failed)}); "
                "attempting to pull the image may not succeed."
            )
            self._events.event(
                reference_to(pod), WARNING, "FailedToRetrieveImagePullSecret", message
            )
        return found

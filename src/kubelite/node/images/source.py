"""Gets the images of containers: pull policy, pull secrets, back-off."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from kubelite.api.client.events import NORMAL, WARNING, EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.pods import Pod
from kubelite.backoff import backoff_seconds
from kubelite.clock import Clock
from kubelite.limits import PULL_LOGINS
from kubelite.node.images.logins import find_logins
from kubelite.node.images.names import parse_name
from kubelite.node.images.pull_secrets import PullSecrets
from kubelite.node.observed import ImageState, Trouble
from kubelite.node.pod_config import PodConfig
from kubelite.node.pods import WantedImage, reference_to
from kubelite.node.runtime import (
    ContainerRuntime,
    Credentials,
    Image,
    ImagePullFailed,
    InvalidImageName,
)
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

PULLS_AT_ONCE = 4
BACKOFF_FIRST_SECONDS = 10
BACKOFF_MAX_SECONDS = 300
ERROR_SHOWN_SECONDS = 3.0  # how long ErrImagePull stands before it becomes ImagePullBackOff

Report = Callable[[ImageState], None]


class ImageSource:
    """Finds images on the node or pulls them in the background."""

    def __init__(
        self,
        runtime: ContainerRuntime,
        client: Client,
        clock: Clock,
        events: EventRecorder,
        tasks: TaskSet,
        reads: PodConfig | None = None,
    ) -> None:
        """`reads` may be shared with other readers of what pods refer to."""
        self._runtime = runtime
        self._secrets = PullSecrets(reads or PodConfig(client), events)
        self._clock = clock
        self._events = events
        self._tasks = tasks
        self._pulling = asyncio.Semaphore(PULLS_AT_ONCE)

    async def ensure(self, pod: Pod, wanted: WantedImage, failures: int, report: Report) -> None:
        """Report the state of an image: at once, and again after the pull if one is needed.

        Args:
            pod: The pod, for its pull secrets and events.
            wanted: The image.
            failures: Pulls that have failed in succession; they decide the back-off.
            report: Called with each new state, also after this call has returned.
        """
        about = reference_to(pod, wanted.container)
        try:
            present = (
                None if wanted.policy == "Always" else await self._runtime.image(wanted.reference)
            )
        except InvalidImageName as error:
            self._report_invalid(pod, wanted, failures, error, report)
            return
        if present is not None:
            message = f'Container image "{wanted.reference}" already present on machine'
            self._events.event(about, NORMAL, "Pulled", f"{message} and can be accessed by the pod")
            report(ImageState(image_id=present.id))
        elif wanted.policy == "Never":
            message = (
                f'Container image "{wanted.reference}" is not present with pull policy of Never'
            )
            self._events.event(about, WARNING, "ErrImageNeverPull", message)
            retry_at = self._clock.now() + timedelta(seconds=_backoff_seconds(failures))
            report(ImageState(trouble=Trouble("ErrImageNeverPull", message, retry_at)))
        else:
            report(ImageState(pulling=True))
            work = self._pull(pod, wanted, failures, report)
            self._tasks.start(work, name=f"pull {wanted.reference}")

    async def _pull(self, pod: Pod, wanted: WantedImage, failures: int, report: Report) -> None:
        about = reference_to(pod, wanted.container)
        self._events.event(about, NORMAL, "Pulling", f'Pulling image "{wanted.reference}"')
        loop = asyncio.get_running_loop()
        asked = loop.time()
        try:
            async with self._pulling:
                started = loop.time()
                image = await self._fetch(wanted.reference, await self._credentials(pod, wanted))
        except InvalidImageName as error:
            self._report_invalid(pod, wanted, failures, error, report)
            return
        except Exception as error:  # noqa: BLE001 - whatever went wrong is the state of the image, shown and tried again
            await self._report_failure(pod, wanted, failures, error, report)
            return
        ended = loop.time()
        message = (
            f'Successfully pulled image "{wanted.reference}" in {_spelt(ended - started)} '
            f"({_spelt(ended - asked)} including waiting). Image size: {image.size_bytes} bytes."
        )
        self._events.event(about, NORMAL, "Pulled", message)
        report(ImageState(image_id=image.id))

    def _report_invalid(
        self,
        pod: Pod,
        wanted: WantedImage,
        failures: int,
        error: InvalidImageName,
        report: Report,
    ) -> None:
        about = reference_to(pod, wanted.container)
        self._events.event(about, WARNING, "InspectFailed", str(error))
        self._events.event(about, WARNING, "Failed", "Error: InvalidImageName")
        retry_at = self._clock.now() + timedelta(seconds=_backoff_seconds(failures))
        report(ImageState(trouble=Trouble("InvalidImageName", str(error), retry_at)))

    async def _report_failure(
        self,
        pod: Pod,
        wanted: WantedImage,
        failures: int,
        error: Exception,
        report: Report,
    ) -> None:
        about = reference_to(pod, wanted.container)
        reason = "ErrImagePull"
        if not isinstance(error, ImagePullFailed):
            log.warning("cannot pull image", extra={"image": wanted.reference}, exc_info=error)
        self._events.event(
            about, WARNING, "Failed", f'Failed to pull image "{wanted.reference}": {error}'
        )
        self._events.event(about, WARNING, "Failed", f"Error: {reason}")
        retry_at = self._clock.now() + timedelta(seconds=_backoff_seconds(failures))
        report(ImageState(trouble=Trouble(reason, str(error), retry_at)))
        await asyncio.sleep(ERROR_SHOWN_SECONDS)
        message = f'Back-off pulling image "{wanted.reference}"'
        self._events.event(about, NORMAL, "BackOff", message)
        self._events.event(about, WARNING, "Failed", "Error: ImagePullBackOff")
        trouble = Trouble("ImagePullBackOff", f"{message}: {reason}: {error}", retry_at)
        report(ImageState(trouble=trouble))

    async def _fetch(self, image: str, logins: Sequence[Credentials | None]) -> Image:
        """Try one login after the other, as upstream does; raises the last failure."""
        *others, last = logins
        for login in others:
            with suppress(ImagePullFailed):
                return await self._runtime.pull(image, login)
        return await self._runtime.pull(image, last)

    async def _credentials(self, pod: Pod, wanted: WantedImage) -> Sequence[Credentials | None]:
        """Return the logins that a pod's secrets have for an image's registry; [None] when there are none."""
        name = parse_name(wanted.reference)
        logins = find_logins(name, await self._secrets.logins(pod))
        if len(logins) > PULL_LOGINS.value:
            PULL_LOGINS.reached()
        usable = logins[: PULL_LOGINS.value]
        return [login.credentials(name.registry) for login in usable] or [None]

    async def images(self) -> list[Image]:
        """Return the images on the node, the largest first, as the node's status lists them."""
        images = await self._runtime.images()
        return sorted(images, key=lambda image: image.size_bytes, reverse=True)


def _backoff_seconds(failures: int) -> float:
    return backoff_seconds(failures, BACKOFF_FIRST_SECONDS, BACKOFF_MAX_SECONDS)


def _spelt(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.3f}s"

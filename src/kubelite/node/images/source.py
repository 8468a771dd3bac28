"""Gets the images of containers: pull policy, verification of logins, pulls, back-off.

The logins for an image are those of the pod's pull secrets, then the node's own, then those of credential providers.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from kubelite.api.client.events import NORMAL, WARNING, EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.pods import Pod
from kubelite.backoff import backoff_seconds
from kubelite.clock import Clock
from kubelite.limits import PULL_LOGINS
from kubelite.node.images.logins import Login, find_logins
from kubelite.node.images.names import ImageName, parse_name
from kubelite.node.images.pull_secrets import PullSecrets
from kubelite.node.images.puller import Attempt, Puller
from kubelite.node.images.rate import PullRate
from kubelite.node.images.records import PullRecords
from kubelite.node.images.settings import ImageSettings
from kubelite.node.images.verification import access_known, access_of, find_access
from kubelite.node.observed import ImageState, Trouble
from kubelite.node.pod_config import PodConfig
from kubelite.node.pods import WantedImage, reference_to
from kubelite.node.runtime import ContainerRuntime, Image, ImagePullFailed, InvalidImageName
from kubelite.tasks import TaskSet

if TYPE_CHECKING:
    from kubelite.node.images.credential_plugins import CredentialPlugins

log = logging.getLogger(__name__)

BACKOFF_FIRST_SECONDS = 10
BACKOFF_MAX_SECONDS = 300
ERROR_SHOWN_SECONDS = 3.0  # how long ErrImagePull stands before it becomes ImagePullBackOff

Report = Callable[[ImageState], None]


class ImageSource:
    """Finds images on the node or pulls them in the background."""

    def __init__(
        self,
        runtime: ContainerRuntime,
        clock: Clock,
        events: EventRecorder,
        tasks: TaskSet,
        secrets: PullSecrets,
        records: PullRecords,
        settings: ImageSettings,
        plugins: "CredentialPlugins | None" = None,
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._events = events
        self._tasks = tasks
        self._secrets = secrets
        self._records = records
        self._settings = settings
        self._puller = Puller(
            runtime,
            tasks,
            settings.pulls_at_once,
            PullRate(settings.pulls_per_second, settings.pulls_burst),
        )
        self._plugins = plugins

    async def ensure(self, pod: Pod, wanted: WantedImage, failures: int, report: Report) -> None:
        """Report the state of an image: at once, and again after the pull if one is needed.

        Args:
            pod: The pod, for its pull secrets and events.
            wanted: The image.
            failures: Pulls that have failed in succession; they decide the back-off.
            report: Called with each new state, also after this call has returned.
        """
        try:
            name = parse_name(wanted.reference)
            present = None if wanted.policy == "Always" else await self._present(name)
        except InvalidImageName as error:
            self._report_invalid(pod, wanted, failures, error, report)
            return
        try:
            is_usable = present is not None and await self._may_use(pod, wanted, name, present)
        except ImagePullFailed as error:
            report(ImageState(pulling=True))
            work = self._report_failure(pod, wanted, failures, error, report)
            self._tasks.start(work, name=f"pull {wanted.reference}")
            return
        if present is not None and is_usable:
            about = reference_to(pod, wanted.container)
            message = f'Container image "{wanted.reference}" already present on machine'
            self._events.event(about, NORMAL, "Pulled", f"{message} and can be accessed by the pod")
            report(ImageState(image_id=present.id))
        elif wanted.policy == "Never":
            self._report_absent(pod, wanted, failures, report)
        else:
            report(ImageState(pulling=True))
            work = self._pull(pod, wanted, name, failures, report)
            self._tasks.start(work, name=f"pull {wanted.reference}")

    async def _present(self, name: ImageName) -> Image | None:
        """Return an image that is on the node; one that is named by its digest may have its mirror's name."""
        image = await self._runtime.image(name.repository + name.suffix)
        if image is None and name.digest:
            for source in self._settings.registries.sources(name):
                if source.is_mirror and (image := await self._runtime.image(source.reference)):
                    break
        return image

    async def _may_use(self, pod: Pod, wanted: WantedImage, name: ImageName, image: Image) -> bool:
        """Return whether a pod may use an image that is on the node. Raises ImagePullFailed."""
        records, reference = self._records, wanted.reference
        was_pulled = records.was_pulled(reference, image.id)
        if not self._settings.verification.is_required(reference, was_pulled=was_pulled):
            return True
        record = records.record(image.id)
        known = access_known(record, name.repository)
        if known is not None or record is None:
            return bool(known)
        logins = [a.login for a in await self._attempts(pod, name) if a.login is not None]
        finding = find_access(record, name.repository, logins)
        if finding.new is not None:
            try:
                await records.add(name.repository, image.id, finding.new)
            except OSError as error:
                log.warning("cannot record who may use an image: %s", error.strerror)
        return finding.is_allowed

    async def _attempts(self, pod: Pod, name: ImageName) -> list[Attempt]:
        """Return the sources of an image, each with each login for it. Raises ImagePullFailed."""
        secrets = await self._secrets.logins(pod)
        found = []
        for source in self._settings.registries.sources(name):
            place = parse_name(source.reference)
            logins = _bounded(find_logins(place, secrets))
            if source.login is not None:
                logins.append(source.login)
            if self._plugins is not None:
                given = await self._plugins.logins(place.full_repository, pod)
                logins += _bounded(find_logins(place, [given]))
            usable: Sequence[Login | None] = list(dict.fromkeys(logins))
            found += [Attempt(source, login) for login in usable or [None]]
        return found

    async def _pull(
        self, pod: Pod, wanted: WantedImage, name: ImageName, failures: int, report: Report
    ) -> None:
        about, reference = reference_to(pod, wanted.container), wanted.reference
        self._events.event(about, NORMAL, "Pulling", f'Pulling image "{reference}"')
        loop = asyncio.get_running_loop()
        asked = loop.time()
        try:
            await self._begin(reference)
            pulled = await self._puller.pull(name, await self._attempts(pod, name))
        except InvalidImageName as error:
            await self._records.failed(reference)
            self._report_invalid(pod, wanted, failures, error, report)
            return
        except Exception as error:  # noqa: BLE001 - whatever went wrong is the state of the image, shown and tried again
            await self._records.failed(reference)
            await self._report_failure(pod, wanted, failures, error, report)
            return
        image, access = pulled.image, access_of(pulled.login)
        await self._records.pulled(reference, name.repository, image.id, access)
        message = (
            f'Successfully pulled image "{reference}" in {_spelt(pulled.seconds)} '
            f"({_spelt(loop.time() - asked)} including waiting). Image size: {image.size_bytes} bytes."
        )
        self._events.event(about, NORMAL, "Pulled", message)
        report(ImageState(image_id=image.id))

    async def _begin(self, reference: str) -> None:
        try:
            await self._records.begin(reference)
        except OSError as error:
            raise ImagePullFailed(
                f'Failed to record image pull intent for container image "{reference}": {error}'
            ) from error

    def _report_absent(self, pod: Pod, wanted: WantedImage, failures: int, report: Report) -> None:
        # The same of an image that is there but not for this pod: that it is there is not told.
        message = f'Container image "{wanted.reference}" is not present with pull policy of Never'
        about = reference_to(pod, wanted.container)
        self._events.event(about, WARNING, "ErrImageNeverPull", message)
        retry_at = self._clock.now() + timedelta(seconds=_backoff_seconds(failures))
        report(ImageState(trouble=Trouble("ErrImageNeverPull", message, retry_at)))

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


def plugins_of(
    settings: ImageSettings, tasks: TaskSet, reads: PodConfig, client: Client, clock: Clock
) -> "CredentialPlugins | None":
    """Return the programs that are asked for logins; None if there are none."""
    if not settings.credential_providers:
        return None
    from kubelite.node.images.credential_plugins import CredentialPlugins
    from kubelite.node.images.pull_accounts import PullAccounts

    accounts = PullAccounts(reads, client, clock.now)
    return CredentialPlugins(settings.credential_providers, tasks, accounts)


def _bounded(logins: list[Login]) -> list[Login]:
    if len(logins) > PULL_LOGINS.value:
        PULL_LOGINS.reached()
    return logins[: PULL_LOGINS.value]


def _backoff_seconds(failures: int) -> float:
    return backoff_seconds(failures, BACKOFF_FIRST_SECONDS, BACKOFF_MAX_SECONDS)


def _spelt(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.3f}s"

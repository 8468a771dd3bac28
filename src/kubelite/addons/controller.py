"""Follows the folder of manifests: applies its files, tries again what failed, and prunes what is gone from them.

Work is due when a file changes, when what is served changes (a custom resource may come before its definition), and
after a back-off. A round applies all files that are due before it prunes, so an object may move from file to file.
Nothing is pruned while any file of the folder is not understood, since it may have the object. Files that vanished
while the server was down are found by the parents of their sets. A folder that had to be made tells nothing of what its
files were, as on another machine, so what they made is kept.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from kubelite.addons import folder
from kubelite.addons.applying import Applied, Plan, apply, plan, prune
from kubelite.addons.applyset import (
    ADDON,
    APPLIED,
    FAILED,
    FILE,
    KEPT,
    NAMESPACE,
    OBJECTS,
    PROBLEM,
    SKIPPED,
    STATE,
    WAITING,
    Scope,
    is_parent,
    is_same,
    parent_body,
    parent_name,
    recorded_scope,
    scope_of,
    set_id,
    told,
)
from kubelite.addons.manifests import (
    YAML_COST,
    Manifest,
    ObjectKey,
    Rows,
    UnusableFile,
    check_number,
    read,
    split,
)
from kubelite.api.client.events import NORMAL, WARNING, EventRecorder, reference_to
from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError, NotFound
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.backoff import backoff_seconds
from kubelite.folder_watch import FolderWatch
from kubelite.offload import Offload

log = logging.getLogger(__name__)

RETRY_FIRST_SECONDS = 1.0
RETRY_MAX_SECONDS = 60.0
FOLDER_RETRY_SECONDS = 20.0
PATIENCE = 3  # tries after which something that is waited for counts as a failure


class _Addon(Struct):
    """What is known of a file."""

    state: folder.State | str | None = None  # at the last reading; None: it is to be read
    keys: frozenset[ObjectKey] = frozenset()  # the objects of its last readable content
    is_understood: bool = False  # `keys` are those of the file as it is
    is_waiting: bool = False  # for kinds that are not served
    failures: int = 0
    due: float = 0.0  # time of the loop from which on it is tried again
    has_news: bool = True
    is_pruned: bool = False  # what it no longer has is deleted
    problems: tuple[str, ...] = ()


class Addons:
    """The files of `server/manifests` and their objects; `run` keeps the objects as the files say."""

    def __init__(self, path: Path, client: Client, events: EventRecorder, offload: Offload) -> None:
        self._path = path
        self._client = client
        self._events = events
        self._offload = offload
        self._news = asyncio.Event()
        self._addons: dict[str, _Addon] = {}
        self._parents: dict[str, ConfigMap] = {}
        self._served_changed = False
        self._rows: Rows = {}  # what was served when the round began
        self._skipped: frozenset[str] = frozenset()
        self._prune_failures = 0
        self._prune_due = 0.0
        self._watch: FolderWatch | None = None
        self._complaint = ""
        self._folder_was_made = False
        self._is_first = True

    async def run(self, after_round: Callable[[], None] = lambda: None) -> None:
        """Follow the folder until cancelled; `after_round` is called when nothing is left to do for now."""
        unsubscribe = self._client.served.subscribe(self._on_served)
        try:
            while True:
                self._news.clear()
                delay_seconds = await self._round()
                after_round()
                try:
                    async with asyncio.timeout(delay_seconds):
                        await self._news.wait()
                except TimeoutError:
                    continue
        finally:
            unsubscribe()
            if self._watch is not None:
                self._watch.close()

    def _on_served(self) -> None:
        self._served_changed = True
        self._news.set()

    async def _round(self) -> float | None:
        """Bring the objects to what the files say; return the seconds after which to try again, or None."""
        try:
            found = await self._present()
        except OSError as error:
            self._complain(f"cannot follow the folder of manifests: {error}")
            return FOLDER_RETRY_SECONDS
        self._complaint = ""
        try:
            await self._reconcile(found)
        except APIError as error:  # of a parent: nothing is known of what the files made
            self._complain(f"cannot read or write how manifests fared: {error.message}")
            return RETRY_MAX_SECONDS / 2
        unsettled = self._unsettled()  # the end of the writing wakes
        dates = [
            addon.due
            for name, addon in self._addons.items()
            if addon.failures and name not in unsettled
        ]
        if self._prune_failures:
            dates.append(self._prune_due)
        now = self._now()
        return min((max(date - now, 0.0) for date in dates), default=None)

    def _unsettled(self) -> frozenset[str]:
        return frozenset(self._watch.unsettled) if self._watch is not None else frozenset()

    # The folder

    async def _present(self) -> folder.Found:
        """Watch the folder, made if it is missing, then return what it holds. Raises OSError."""
        if self._watch is None or not self._watch.is_open:
            if await asyncio.to_thread(folder.make, self._path):
                self._folder_was_made = True
            self._watch = FolderWatch(self._path, self._news.set)
            self._watch.open()
        return await asyncio.to_thread(folder.scan, self._path)

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            log.warning("%s", text, extra={"folder": str(self._path)})
        self._complaint = text

    # A round

    async def _reconcile(self, found: folder.Found) -> None:
        is_first, self._is_first = self._is_first, False
        served_changed, self._served_changed = self._served_changed, False
        gone = self._addons.keys() - found.files.keys()
        is_prune_due = bool(self._prune_failures) and self._now() >= self._prune_due
        due = self._due(found, served_changed=served_changed)
        is_other_work = is_first or self._folder_was_made or found.skipped != self._skipped
        if not (due or gone or is_prune_due or is_other_work):
            return
        self._skipped = found.skipped
        self._rows = {(row.group, row.kind): row for row in self._client.served.resources()}
        try:
            await self._read_parents()
            for name in due:
                await self._apply(name)
            await self._prune(found)
        except BaseException:
            self._is_first = True
            for name in due:
                self._addons[name].has_news = True
            raise
        self._folder_was_made = False

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _due(self, found: folder.Found, *, served_changed: bool) -> list[str]:
        """Take up the state of all files; return those with work to do, by name."""
        now, unsettled = self._now(), self._unsettled()
        due = []
        for name, state in found.files.items():
            if name in found.skipped:
                self._addons.pop(name, None)  # once it counts again it is applied
                continue
            addon = self._addons.setdefault(name, _Addon())
            if addon.state != state:
                addon.state, addon.has_news, addon.is_understood = state, True, False
                addon.failures = 0
            is_retried = addon.failures and (
                now >= addon.due or (served_changed and addon.is_waiting)
            )
            if (addon.has_news or is_retried) and name not in unsettled:
                due.append(name)
        for name in self._addons.keys() - found.files.keys():
            del self._addons[name]
        return due

    async def _read_parents(self) -> None:
        items = await self._client.list(ConfigMap, NAMESPACE, label_selector=f"{ADDON}=true")
        self._parents = {item.data[FILE]: item for item in items if is_parent(item)}

    async def _apply(self, name: str) -> None:
        addon = self._addons[name]
        addon.has_news = False
        try:
            manifests = await self._read(name, addon)
        except (folder.BeingWritten, FileNotFoundError):
            addon.state = None  # its end, or that it is gone, is told by the watch
            log.info("manifests are still being written", extra={"file": name})
            return
        except (folder.Unreadable, UnusableFile) as error:
            await self._finish(name, Applied(None, (str(error),)), Plan())
            return
        owners = {
            key: other for other, one in self._addons.items() if other != name for key in one.keys
        }
        wanted = plan(manifests, self._rows, owners)
        # Also what another file has: neither may be pruned for the other.
        addon.keys = plan(manifests, self._rows, {}).keys
        addon.is_understood, addon.is_pruned = True, False
        await self._record(name, scope_of(wanted.keys) | self._scope(name))
        await self._finish(name, await apply(self._client, wanted, _set_of(name)), wanted)

    def _scope(self, name: str) -> Scope:
        return recorded_scope(self._parents.get(name))

    async def _read(self, name: str, addon: _Addon) -> list[Manifest]:
        if isinstance(addon.state, str):
            raise folder.Unreadable(addon.state)
        addon.state, data = await asyncio.to_thread(folder.read, self._path / name)
        manifests: list[Manifest] = []
        for number, document in enumerate(split(name, data), start=1):
            cost_bytes = len(document) * YAML_COST

            def read_one(number: int = number, document: bytes = document) -> list[Manifest]:
                return read(name, number, document)

            manifests += await self._offload.run(cost_bytes, read_one)
            check_number(len(manifests))
        if (
            not manifests
        ):  # as an editor or a full disk may leave it; a file is emptied by removing it
            raise UnusableFile("it has no objects; remove the file to remove what it made")
        return manifests

    async def _finish(self, name: str, applied: Applied, wanted: Plan) -> None:
        """Keep account of what came of a file, and show it."""
        addon = self._addons[name]
        waiting = tuple(
            f'{one}: no matches for kind "{one.kind}" in version "{one.body["apiVersion"]}"'
            for one in wanted.unserved
        )
        addon.problems = (*applied.problems, *waiting)
        addon.is_waiting = bool(waiting)
        if addon.problems:
            delay_seconds = backoff_seconds(addon.failures, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS)
            addon.due = self._now() + delay_seconds
            addon.failures += 1
        else:
            addon.failures = 0
        is_patient = not applied.problems and addon.failures < PATIENCE
        state = APPLIED if not addon.problems else WAITING if is_patient else FAILED
        await self._show(name, state, applied.objects, addon.problems)

    # What a file shows

    async def _show(
        self, name: str, state: str, objects: int | None, problems: Iterable[str]
    ) -> None:
        """Show how a file fared; without a number of objects the last one stays."""
        before = self._parents.get(name)
        last = before.data.get(OBJECTS, "0") if before is not None else "0"
        data = {STATE: state, OBJECTS: last if objects is None else str(objects)}
        if text := told(problems):
            data[PROBLEM] = text
        parent = await self._record(name, self._scope(name), data)
        if before is not None and before.data == parent.data:
            return
        if state == FAILED:
            log.warning("cannot apply manifests: %s", text, extra={"file": name})
            self._events.event(reference_to(parent), WARNING, "ApplyFailed", f"{name}: {text}")
        elif state == APPLIED:
            log.info("manifests are applied", extra={"file": name, "objects": objects})
            self._events.event(
                reference_to(parent), NORMAL, "Applied", f"{name}: {objects} objects are applied"
            )

    async def _record(
        self, name: str, scope: Scope, data: dict[str, str] | None = None
    ) -> ConfigMap:
        """Write the parent of a file unless it is right already; without `data` it keeps what it shows."""
        stored = self._parents.get(name)
        if data is None:
            shown = stored.data if stored is not None else {STATE: WAITING, OBJECTS: "0"}
            data = {key: text for key, text in shown.items() if key != FILE}
        body = parent_body(name, scope, data)
        if stored is None or not is_same(stored, body):
            stored = await self._client.patch(
                ConfigMap, parent_name(name), body, NAMESPACE, patch_type="apply", force=True
            )
            self._parents[name] = stored
        return stored

    # What is gone

    async def _prune(self, found: folder.Found) -> None:
        for name, parent in list(self._parents.items()):
            if name in found.skipped:
                await self._note(name, parent, SKIPPED)
            elif name not in found.files and self._folder_was_made:
                await self._note(name, parent, KEPT)
        self._prune_failures, failures = 0, self._prune_failures
        unclear = [name for name, addon in self._addons.items() if not addon.is_understood]
        if unclear or not found.is_complete:
            log.info("nothing is pruned before all files can be read", extra={"files": unclear})
            return
        kept = frozenset(key for addon in self._addons.values() for key in addon.keys)
        is_done = True
        for name in self._parents.keys() - found.files.keys() - found.skipped:
            if self._parents[name].data.get(STATE) != KEPT:
                is_done &= await self._pruned(name, kept) and await self._forget(name)
        for name, addon in self._addons.items():
            if not addon.problems and not addon.is_pruned:
                addon.is_pruned = await self._pruned(name, kept)
                is_done &= addon.is_pruned
                if addon.is_pruned:
                    await self._record(name, scope_of(addon.keys))
        if not is_done:
            delay_seconds = backoff_seconds(failures, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS)
            self._prune_failures, self._prune_due = failures + 1, self._now() + delay_seconds

    async def _note(self, name: str, parent: ConfigMap, state: str) -> None:
        if parent.data.get(STATE) != state:
            data = {key: text for key, text in parent.data.items() if key not in (FILE, PROBLEM)}
            await self._record(name, self._scope(name), {**data, STATE: state})
            log.info("manifests are left as they are", extra={"file": name, "state": state})

    async def _pruned(self, name: str, kept: frozenset[ObjectKey]) -> bool:
        """Delete what a file no longer has; return whether all of it is deleted."""
        parent = parent_name(name)
        outcome = await prune(self._client, parent, self._scope(name), self._rows, kept)
        if outcome.objects:
            text = ", ".join(outcome.objects)
            log.info("objects that no manifest has are deleted: %s", text, extra={"file": name})
            about = reference_to(self._parents[name])
            self._events.event(about, NORMAL, "Pruned", f"{name}: deleted {text}")
        if outcome.problems:
            await self._show(name, FAILED, None, outcome.problems)
        return not outcome.problems

    async def _forget(self, name: str) -> bool:
        """Delete the parent of a file that is gone; return True."""
        stored = self._parents.pop(name)
        try:
            await self._client.delete(
                ConfigMap, stored.metadata.name, NAMESPACE, uid=stored.metadata.uid
            )
        except NotFound:
            log.debug("the parent was deleted already", extra={"file": name})
        return True


def _set_of(name: str) -> str:
    return set_id(parent_name(name))

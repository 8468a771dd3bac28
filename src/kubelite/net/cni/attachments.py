"""The connections of pods that plugins made, one file each, so that they can be undone after a restart. Blocks."""

import logging
import os
from pathlib import Path

import msgspec

from kubelite.limits import CNI_CONFIG
from kubelite.net.cni.calls import Attachment

log = logging.getLogger(__name__)

SUFFIX = ".json"


class AttachmentFiles:
    """A folder with a file for each connection; names are uids of pods."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> dict[str, Attachment]:
        """Return all connections by the pod's uid; a file that cannot be read is left out with a warning."""
        found = {}
        for file in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                found[file.stem] = msgspec.json.decode(file.read_bytes(), type=Attachment)
            except (OSError, msgspec.MsgspecError) as error:
                log.warning(
                    "cannot read a connection of a pod",
                    extra={"file": str(file), "reason": str(error)},
                )
        return found

    def save(self, attachment: Attachment) -> None:
        """Write a connection; it need not outlast the host, whose end is that of every pod's network."""
        data = msgspec.json.encode(attachment)
        if len(data) > 2 * CNI_CONFIG.value:
            CNI_CONFIG.reached()
            raise OSError(0, "the answer of a CNI plugin is too long")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._folder / f"{attachment.pod_uid}{SUFFIX}"
        new = file.with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
            opened.write(data)
        new.replace(file)

    def remove(self, pod_uid: str) -> None:
        """Forget a connection."""
        (self._folder / f"{pod_uid}{SUFFIX}").unlink(missing_ok=True)

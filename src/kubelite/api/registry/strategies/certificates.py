"""Certificate signing requests: the server records the caller; approval and status have subresources of their own."""

from typing import Any

from kubelite.api.machinery.times import format_time
from kubelite.api.registry.strategy import Strategy, WriteContext, keep

_DECISIONS = ("Approved", "Denied")

JSON = dict[str, Any]


class CertificateSigningRequestStrategy(Strategy):
    """The write hooks of CertificateSigningRequests."""

    def prepare_create(self, item: JSON, context: WriteContext) -> None:
        """Set user, uid, groups and extra of the caller in the spec."""
        super().prepare_create(item, context)
        spec, caller = item.setdefault("spec", {}), context.caller
        spec["username"] = caller.user
        for name in ("uid", "groups", "extra"):
            spec.pop(name, None)
        if caller.uid:
            spec["uid"] = caller.uid
        if caller.groups:
            spec["groups"] = list(caller.groups)
        if caller.extra:
            spec["extra"] = {name: list(values) for name, values in caller.extra.items()}

    def prepare_update(
        self, item: JSON, old: JSON, subresource: str, context: WriteContext
    ) -> None:
        """Restore the spec, which is immutable, and the parts of the status that this path does not write."""
        keep(item, old, "spec")
        wanted = (item.get("status") or {}).get("conditions") or []
        before = (old.get("status") or {}).get("conditions") or []
        if not subresource:
            keep(item, old, "status")
            return
        if subresource == "approval":
            item["status"] = {**(old.get("status") or {})}
        else:
            decided = [one for one in before if one.get("type") in _DECISIONS]
            wanted = decided + [one for one in wanted if one.get("type") not in _DECISIONS]
        item.setdefault("status", {})["conditions"] = [
            _timed(condition, before, context) for condition in wanted
        ]
        if not wanted:
            del item["status"]["conditions"]


def _timed(condition: JSON, before: list[JSON], context: WriteContext) -> JSON:
    """Return a condition with missing update and transition times filled in."""
    now = format_time(context.now)
    same = next((one for one in before if one.get("type") == condition.get("type")), None)
    timed = {**condition}
    timed.setdefault("lastUpdateTime", now)
    if "lastTransitionTime" not in timed:
        unchanged = same is not None and same.get("status") == condition.get("status")
        timed["lastTransitionTime"] = (
            same.get("lastTransitionTime", now) if unchanged and same is not None else now
        )
    return timed

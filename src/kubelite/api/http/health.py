"""Health: named checks behind /healthz, /livez and /readyz, in Kubernetes' form."""

import logging
from collections.abc import Callable, Mapping

from kubelite.api.http.request import Query
from kubelite.api.http.respond import Reply, text_reply
from kubelite.api.registry.routes import not_found
from kubelite.metrics import Registry
from kubelite.process_metrics import expose_start
from kubelite.store.protocol import Store, StoreUnavailable

log = logging.getLogger(__name__)

# Kubernetes' service level indicators, served at /metrics/slis.
HEALTH_REGISTRY = Registry()
_LAST = HEALTH_REGISTRY.gauge(
    "kubernetes_healthcheck", "1 if a health check passed when it ran last.", ("name", "type")
)
_TOTAL = HEALTH_REGISTRY.counter(
    "kubernetes_healthchecks_total", "Runs of a health check.", ("name", "type", "status")
)
expose_start(HEALTH_REGISTRY)

Check = Callable[[], str]  # returns the failure, "" if healthy; must not block


def healthy() -> str:
    """Pass always: an answer already proves that the event loop and its log are not blocked."""
    return ""


# Probes exclude checks by name, so the names are those of Kubernetes.
def live_checks(store: Store) -> Mapping[str, Check]:
    """Return the liveness checks; a full or slow disk passes, since a restart would not help."""

    def reads() -> str:
        try:
            store.get("")
        except StoreUnavailable as error:
            return str(error)
        return ""

    return {"log": healthy, "etcd": reads}


def ready_checks(store: Store) -> Mapping[str, Check]:
    """Return the readiness checks, in addition to the liveness checks."""
    return {"etcd": lambda: store.problem, "etcd-readiness": lambda: store.problem}


class Health:
    """A health endpoint and its checks; each check also has a path of its own."""

    def __init__(self, name: str, checks: Mapping[str, Check]) -> None:
        self.name = name
        self._checks = {"ping": healthy, **checks}

    def answer(self, query: Query) -> Reply:
        """Run all checks but those in ``exclude``; status 500 if one fails."""
        excluded = set(query.get("exclude", ()))
        lines = []
        failed = []
        for name, check in self._checks.items():
            if name in excluded:
                excluded.discard(name)
                lines.append(f"[+]{name} excluded: ok")
            elif problem := self._run(name, check):
                failed.append(f"{name}: {problem}")
                lines.append(f"[-]{name} failed: reason withheld")
            else:
                lines.append(f"[+]{name} ok")
        if excluded:
            unknown = ",".join(f'"{name}"' for name in sorted(excluded))
            lines.append(f"warn: some health checks cannot be excluded: no matches for {unknown}")
        if failed:
            log.info("health check failed", extra={"endpoint": self.name, "failed": failed})
            return text_reply("\n".join([*lines, f"{self.name} check failed", ""]), 500)
        if "verbose" in query:
            return text_reply("\n".join([*lines, f"{self.name} check passed", ""]))
        return text_reply("ok")

    def _run(self, name: str, check: Check) -> str:
        problem = check()
        _LAST.labelled(name, self.name).value = float(not problem)
        _TOTAL.labelled(name, self.name, "error" if problem else "success").value += 1
        return problem

    def answer_one(self, name: str) -> Reply:
        """Run one check; status 500 if it fails. Raises NotFound for an unknown name."""
        check = self._checks.get(name)
        if check is None:
            raise not_found()
        if problem := check():
            return text_reply(f"internal server error: {problem}\n", 500)
        return text_reply("ok")

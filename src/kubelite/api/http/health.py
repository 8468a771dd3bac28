"""Health: named checks behind /healthz, /livez and /readyz, in Kubernetes' form."""

import logging
from collections.abc import Callable, Mapping

from kubelite.api.http.request import Query
from kubelite.api.http.respond import Reply, text_reply
from kubelite.api.registry.routes import not_found

log = logging.getLogger(__name__)

Check = Callable[[], str]  # returns what is wrong, or an empty string; must not wait


def ping() -> str:
    """Pass: whoever asks gets an answer."""
    return ""


class Health:
    """One health endpoint and its checks; each is also served at a path of its own."""

    def __init__(self, name: str, checks: Mapping[str, Check]) -> None:
        self.name = name
        self._checks = {"ping": ping, **checks}

    def answer(self, query: Query) -> Reply:
        """Run all checks that are not excluded."""
        excluded = set(query.get("exclude", ()))
        lines = []
        failed = []
        for name, check in self._checks.items():
            if name in excluded:
                excluded.discard(name)
                lines.append(f"[+]{name} excluded: ok")
            elif problem := check():
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

    def answer_one(self, name: str) -> Reply:
        """Run one check; raises NotFound for an unknown one."""
        check = self._checks.get(name)
        if check is None:
            raise not_found()
        if problem := check():
            return text_reply(f"internal server error: {problem}\n", 500)
        return text_reply("ok")

"""Guards greetings by admission webhooks, which kopf serves and registers by itself.

HOOK_CERT=... HOOK_KEY=... HOOK_CA=... kopf run --namespace default examples/operator/guard.py
"""

import os
from typing import Any

import kopf

KIND = ("example.com", "v1", "greetings")


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Serve webhooks on a free port of this host, with a certificate that the environment names."""
    settings.posting.enabled = False
    settings.admission.managed = "guard.example.com"
    settings.admission.server = kopf.WebhookServer(
        addr="127.0.0.1",
        host="localhost",
        certfile=os.environ["HOOK_CERT"],
        pkeyfile=os.environ["HOOK_KEY"],
        cafile=os.environ["HOOK_CA"],
    )


@kopf.on.mutate(*KIND)
def name_the_world(spec: kopf.Spec, patch: kopf.Patch, **_: Any) -> None:
    """Write names as they are spelled."""
    if spec.get("to") == "world":
        patch.spec["to"] = "World"


@kopf.on.validate(*KIND)
def be_kind(spec: kopf.Spec, warnings: list[str], **_: Any) -> None:
    """Refuse to greet nobody, and wonder about shouting."""
    if spec.get("to") == "Nobody":
        raise kopf.AdmissionError("nobody is not greeted", code=418)
    if str(spec.get("to", "")).isupper():
        warnings.append("no need to shout")

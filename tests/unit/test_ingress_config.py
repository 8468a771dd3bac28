"""Where a node serves Ingresses."""

from pathlib import Path
from typing import Any

import pytest

from kubelite.config import load, load_agent
from kubelite.settings import InvalidConfig

NO_FILE = Path("/nonexistent/config.yaml")


@pytest.mark.parametrize("loaded", [load, load_agent])
def test_ports_and_log(loaded: Any) -> None:
    config = loaded({}, {}, NO_FILE)
    assert (config.ingress_http_port, config.ingress_https_port) == (80, 443)
    given = {"ingress_http_port": 8080, "ingress_access_log": "/var/log/ingress.log"}
    assert loaded(given, {}, NO_FILE).ingress_http_port == 8080


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"ingress_http_port": 0}, "must be 1 to 65535"),
        ({"ingress_https_port": 70000}, "must be 1 to 65535"),
        ({"ingress_https_port": 80}, "is --ingress-http-port as well"),
        ({"ingress_access_log": "here.log"}, "must be an absolute path"),
    ],
)
def test_what_is_refused(flags: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidConfig, match=reason):
        load(flags, {}, NO_FILE)


def test_the_ingress_can_be_switched_off() -> None:
    assert load({"disable": ("ingress",)}, {}, NO_FILE).disabled == {"ingress"}

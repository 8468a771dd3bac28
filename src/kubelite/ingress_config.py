"""The part of the configuration that says where a node serves Ingresses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from kubelite.network_config import NetworkConfig
from kubelite.settings import Setting, unusable


class IngressConfig(NetworkConfig, frozen=True, kw_only=True):
    """A part of the configuration of every node."""

    ingress_http_port: Annotated[
        int, Setting("Port of this node for requests to Ingresses by HTTP", "PORT")
    ] = 80
    ingress_https_port: Annotated[
        int, Setting("Port of this node for requests to Ingresses by HTTPS", "PORT")
    ] = 443
    ingress_access_log: Annotated[
        str, Setting("File that gets a line for each request to an Ingress (default: none)", "FILE")
    ] = ""


def check_ingress(config: IngressConfig) -> None:
    """Raise InvalidConfig unless the ports are two, and the log is a file by its whole path."""
    for field in ("ingress_http_port", "ingress_https_port"):
        port = getattr(config, field)
        if not 0 < port < 65536:
            raise unusable(field, port, "must be 1 to 65535")
    if config.ingress_http_port == config.ingress_https_port:
        raise unusable(
            "ingress_https_port", config.ingress_https_port, "is --ingress-http-port as well"
        )
    if config.ingress_access_log and not Path(config.ingress_access_log).is_absolute():
        raise unusable("ingress_access_log", config.ingress_access_log, "must be an absolute path")

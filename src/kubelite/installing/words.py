"""What a user is told after an installation."""

from collections.abc import Iterator

from kubelite.config import AgentConfig, Config
from kubelite.installing.openrc import LOG_FOLDER
from kubelite.installing.plan import Manager


def next_steps(
    name: str, config: Config | AgentConfig, manager: Manager, *, is_started: bool
) -> Iterator[str]:
    """Yield lines about what to do next."""
    is_systemd = manager is Manager.SYSTEMD
    if not is_started:
        yield f"start it:  {f'systemctl start {name}' if is_systemd else f'rc-service {name} start'}"
    match config:
        case Config():
            yield f"use it:    export KUBECONFIG={config.write_kubeconfig}"
            yield f"           kubectl get {'namespaces' if config.disable_agent else 'nodes'}"
            yield "join more: kubelite token create, and on the other machine"
            yield (
                f"           kubelite install agent --join https://SERVER:{config.https_listen_port} --token-file FILE"
            )
        case AgentConfig():
            yield f"see it:    kubectl get node {config.name_of_node}, where the cluster's kubeconfig is"
    yield f"its log:   {f'journalctl -u {name} -f' if is_systemd else LOG_FOLDER / f'{name}.log'}"
    yield "remove it: kubelite uninstall"

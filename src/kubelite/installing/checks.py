"""What an installation checks before it writes anything: a service that cannot start is worse than none."""

from kubelite.api.auth.join_token import JoinToken, TokenMalformed
from kubelite.config import AgentConfig, Config
from kubelite.installing.refusal import NotInstallable
from kubelite.joining.files import AgentFiles
from kubelite.prerequisites import CannotStart, require_network_rights, require_node_name


def require_startable(config: Config | AgentConfig) -> None:
    """Raise NotInstallable if a service with these settings could not start. Blocks."""
    try:
        require_node_name(config)
        match config:
            case Config():
                if not config.disable_agent:
                    require_network_rights("; --disable-agent runs the control plane only")
            case AgentConfig():
                require_network_rights()
                _require_membership(config)
    except CannotStart as error:
        raise NotInstallable(str(error)) from error


def _require_membership(config: AgentConfig) -> None:
    """Raise NotInstallable unless the machine has joined, or is told how to."""
    files = AgentFiles(config.agent_dir)
    if config.store_dir.exists():
        raise NotInstallable(
            f"cannot use data folder {config.data_dir}: a server's cluster is in it; see --data-dir"
        )
    has_joined = files.read_joined() is not None
    if not (config.servers or has_joined):
        raise NotInstallable("cannot join: give a server with --join https://SERVER:6443")
    if not (config.token or config.token_file or has_joined):
        raise NotInstallable(
            "cannot join without a token: give --token-file or KUBELITE_TOKEN; "
            "create a token on the server with kubelite token create"
        )
    if config.token:
        try:
            JoinToken.parse(config.token)
        except TokenMalformed as error:
            raise NotInstallable(str(error)) from error

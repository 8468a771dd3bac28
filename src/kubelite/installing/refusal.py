"""Why an installation is refused."""


class NotInstallable(Exception):
    """This cannot be installed, or not removed; the message is one line for the user."""

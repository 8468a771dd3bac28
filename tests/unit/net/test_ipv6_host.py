"""How a host is set for IPv6, and how it was before."""

from pathlib import Path

import pytest

from kubelite.net.ipv6_host import forward, ipv6_problem, restore, set_link, wanted_changes


def test_a_host_that_hears_routers_goes_on_to_do_so() -> None:
    current = {"all/forwarding": "0", "eth0/accept_ra": "1", "eth1/accept_ra": "0"}
    wanted = wanted_changes(current)
    assert list(wanted.items()) == [("eth0/accept_ra", "2"), ("all/forwarding", "1")]
    assert wanted_changes({"all/forwarding": "1", "eth0/accept_ra": "1"}) == {}


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    folder = tmp_path / "conf"
    for link in ("all", "default", "eth0", "lo"):
        (folder / link).mkdir(parents=True)
        for name in ("forwarding", "accept_ra", "disable_ipv6"):
            (folder / link / name).write_text("1\n" if name == "accept_ra" else "0\n")
    return folder


def test_the_settings_come_back(settings: Path, tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    forward(settings, before)
    forward(settings, before)  # a second start changes nothing, and forgets nothing
    assert (settings / "all" / "forwarding").read_text() == "1"
    assert (settings / "eth0" / "accept_ra").read_text() == "2"
    restore(settings, before)
    assert (settings / "all" / "forwarding").read_text() == "0"
    assert (settings / "eth0" / "accept_ra").read_text() == "1"
    assert not before.exists()
    restore(settings, before)


def test_a_host_that_forwarded_before_is_left_alone(settings: Path, tmp_path: Path) -> None:
    (settings / "all" / "forwarding").write_text("1\n")
    forward(settings, tmp_path / "before.json")
    restore(settings, tmp_path / "before.json")
    assert (settings / "all" / "forwarding").read_text() == "1\n"
    assert (settings / "eth0" / "accept_ra").read_text() == "1\n"


def test_a_pods_link_has_no_address_of_its_own(settings: Path) -> None:
    set_link("eth0", settings, is_pods=True)
    assert (settings / "eth0" / "addr_gen_mode").read_text() == "1"
    assert (settings / "eth0" / "accept_ra").read_text() == "0"
    assert (settings / "lo" / "disable_ipv6").read_text() == "0"


def test_a_host_without_ipv6_is_told(settings: Path) -> None:
    assert ipv6_problem(settings) == ""
    assert "ipv6.disable=1" in ipv6_problem(settings / "none")


class Killed(BaseException):
    """The process was killed."""


class Death:
    """Ends the process by one of the changes that it makes of files: half way, or after it."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int, share: float) -> None:
        self.made = 0
        self._at, self._share = at, share
        self._write, self._replace = Path.write_text, Path.replace
        # Functions, unlike methods of this object, are given the file.
        patch.setattr(Path, "write_text", lambda file, text: self._change(file, text))  # noqa: PLW0108 - as above
        patch.setattr(Path, "replace", lambda file, to: self._move(file, to))  # noqa: PLW0108 - as above

    def _change(self, file: Path, text: str) -> None:
        is_last = self._dies()
        # The kernel takes a setting whole or not at all.
        share = self._share if file.suffix else 1
        self._write(file, text[: int(len(text) * share)] if is_last else text)
        if is_last:
            raise Killed

    def _move(self, file: Path, to: Path) -> None:
        is_last = self._dies()
        if not is_last or self._share == 1:
            self._replace(file, to)
        if is_last:
            raise Killed

    def _dies(self) -> bool:
        self.made += 1
        return self.made == self._at


@pytest.mark.parametrize("share", [0.5, 1])
@pytest.mark.parametrize("at", range(1, 6))
def test_a_crash_amid_the_first_forwarding_loses_no_former_setting(
    settings: Path, tmp_path: Path, at: int, share: float
) -> None:
    (settings / "eth1").mkdir()
    (settings / "eth1" / "accept_ra").write_text("1\n")
    former = {one: one.read_text().strip() for one in settings.glob("*/*")}
    before = tmp_path / "before.json"
    with pytest.MonkeyPatch.context() as patch:
        death = Death(patch, at, share)
        with pytest.raises(Killed):
            forward(settings, before)
        assert death.made == at
    forward(settings, before)  # the next start
    assert (settings / "all" / "forwarding").read_text() == "1"
    assert (settings / "eth0" / "accept_ra").read_text() == "2"
    restore(settings, before)
    assert {one: one.read_text().strip() for one in former} == former


def test_a_setting_that_was_changed_since_comes_back_as_it_was_then(
    settings: Path, tmp_path: Path
) -> None:
    before = tmp_path / "before.json"
    forward(settings, before)
    (settings / "all" / "forwarding").write_text("0\n")  # by an administrator
    (settings / "eth0" / "accept_ra").write_text("0\n")
    forward(settings, before)
    restore(settings, before)
    assert (settings / "all" / "forwarding").read_text() == "0"
    assert (settings / "eth0" / "accept_ra").read_text().strip() == "0"

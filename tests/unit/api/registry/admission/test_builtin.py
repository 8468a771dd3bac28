"""The plugins a server can run."""

import inspect
import pkgutil
from importlib import import_module

from kubelite.api.registry import admission
from kubelite.api.registry.admission import ORDER, Admission
from kubelite.api.registry.admission.builtin import SWITCHABLE
from kubelite.api.registry.admission.request import Mutating, Validating


def plugins() -> list[type]:
    """Return every class of the package that has the shape of a plugin."""
    modules = [
        import_module(module.name)
        for module in pkgutil.walk_packages(admission.__path__, f"{admission.__name__}.")
    ]
    return [
        class_
        for module in modules
        for _, class_ in inspect.getmembers(module, inspect.isclass)
        if class_.__module__ == module.__name__
        and isinstance(getattr(class_, "name", None), str)
        and (hasattr(class_, "mutate") or hasattr(class_, "validate"))
    ]


def test_every_plugin_has_a_place_in_the_order() -> None:
    names = {str(vars(class_)["name"]) for class_ in plugins()}
    assert "DenyServiceExternalIPs" in names
    assert names <= set(ORDER)


def test_plugins_run_in_the_order_of_kubernetes() -> None:
    made: list[Mutating | Validating] = [object.__new__(class_) for class_ in plugins()]
    ordered = Admission.ordered(*reversed(made))
    for run in (ordered.mutating, ordered.validating):
        places = [ORDER.index(plugin.name) for plugin in run]
        assert places == sorted(places)
        assert places


def test_a_configuration_may_name_every_plugin_but_the_checks_of_rights() -> None:
    names = {str(vars(class_)["name"]) for class_ in plugins()}
    assert names - {"RoleEscalation", "PolicyParamAccess", "DeviceClaimAccess"} == SWITCHABLE

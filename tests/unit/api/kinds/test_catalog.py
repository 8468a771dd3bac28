from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.catalog import kinds
from kubelite.api.kinds.model import GroupVersionKind


def test_kinds_are_found_by_what_names_them() -> None:
    assert kinds()[GroupVersionKind("apps", "v1", "Deployment")] is Deployment
    assert GroupVersionKind("apps", "v1", "Unknown") not in kinds()


def test_every_kind_has_a_name_of_its_own() -> None:
    assert all(gvk.version and gvk.kind == type_.__name__ for gvk, type_ in kinds().items())

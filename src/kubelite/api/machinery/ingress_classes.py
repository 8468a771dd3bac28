"""Which Ingresses are kubelite's: what controllers, nodes and the authorization of nodes agree on."""

from collections.abc import Iterable, Iterator, Set

from kubelite.api.kinds.networking import Ingress, IngressClass
from kubelite.api.machinery.default_classes import DEFAULT_INGRESS

NAME = "kubelite"  # of the class that the server keeps
CONTROLLER = "kubelite.io/ingress-controller"
CLASS_ANNOTATION = "kubernetes.io/ingress.class"  # from before there were classes
NO_CLASS = ""


def own_classes(classes: Iterable[IngressClass]) -> Set[str]:
    """Return the names of the classes that kubelite implements; "" among them if one of them is a default."""
    found = set()
    for one in classes:
        if one.spec.controller == CONTROLLER:
            found.add(one.metadata.name)
            if any(one.metadata.annotations.get(mark) == "true" for mark in DEFAULT_INGRESS):
                found.add(NO_CLASS)
    return found


def class_of(ingress: Ingress) -> str:
    """Return the name of an Ingress's class: that of the spec, else of the annotation; "": none."""
    if ingress.spec.ingressClassName is not None:
        return ingress.spec.ingressClassName
    return ingress.metadata.annotations.get(CLASS_ANNOTATION, NO_CLASS)


def is_ours(ingress: Ingress, own: Set[str]) -> bool:
    """Return whether an Ingress is kubelite's; `own` is of `own_classes`."""
    return class_of(ingress) in own


def secrets_of(ingress: Ingress) -> Iterator[str]:
    """Yield the names of the Secrets with certificates, which are in the Ingress's own namespace."""
    for entry in ingress.spec.tls:
        if entry.secretName:
            yield entry.secretName

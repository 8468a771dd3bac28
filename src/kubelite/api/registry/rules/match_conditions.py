"""Rules of match conditions, which webhooks and policies have in common."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kubelite.api.errors import Cause
from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules.values import JSON, Out, required_format

if TYPE_CHECKING:
    from kubelite.api.machinery.admission_expressions import Compiled

CONDITIONS_MAX: Final = 64


def match_conditions(
    out: Out, path: str, found: Sequence[JSON], *, has_params: bool = False
) -> None:
    """Check the match conditions of a policy or webhook."""
    if len(found) > CONDITIONS_MAX:
        out.append(causes.too_many(path, len(found), CONDITIONS_MAX))
    seen: set[str] = set()
    for index, each in enumerate(found):
        at, name = f"{path}[{index}]", each.get("name", "")
        if text := each.get("expression", "").strip():
            tell(out, f"{at}.expression", text, condition(text, has_params=has_params))
        else:
            out.append(causes.required(f"{at}.expression"))
        required_format(out, f"{at}.name", name, names.qualified_name)
        if name and name in seen:
            out.append(causes.duplicate(f"{at}.name", name))
        seen.add(name)


def tell(out: Out, path: str, text: str, found: "Compiled") -> None:
    """Append why an expression does not compile, if so; `text` is quoted."""
    if found.is_internal:
        out.append(Cause(path, "InternalError", f"Internal error: {found.error}"))
    elif found.error:
        out.append(causes.invalid(path, text, found.error))


def condition(text: str, *, has_params: bool) -> "Compiled":
    """Compile a match condition of a policy or webhook."""
    from kubelite.api.machinery import admission_expressions

    environment = admission_expressions.environment(has_params=has_params, has_authorizer=True)
    return admission_expressions.compiled(environment, text, admission_expressions.CONDITION)

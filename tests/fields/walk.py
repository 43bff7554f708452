"""Every field that a spec has, found in its models: nothing to be kept up to date by hand.

A path is written as `mounts[bind].source`, `ports[].host_port`, `limits.memory`; a map is one
field, a list of strings too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from longshore.model.limits import FlavorAsked
from longshore.model.mounts import Borrowed
from longshore.model.spec import ContainerSpec

#: Written by the agent alone; a spec that has one is refused.
_NEVER_ASKED = (Borrowed,)
#: The same fields as `limits`, which are one value here.
_WHOLE = {(FlavorAsked, "limits")}


def fields(model: type[BaseModel] = ContainerSpec, above: str = "") -> Iterator[str]:
    """Paths of what can be set, in the order in which it is declared."""
    for name, field in model.model_fields.items():
        path = f"{above}{name}"
        if is_tag(field):
            continue
        parts = [] if (model, name) in _WHOLE else list(_parts(field.annotation))
        if not parts:
            yield path
        for mark, part in parts:
            yield from fields(part, f"{path}{mark}.")


def given(spec: BaseModel, above: str = "") -> Iterator[str]:
    """Paths of what in `spec` has a value that is not the default's."""
    for name, field in type(spec).model_fields.items():
        value, path = getattr(spec, name), f"{above}{name}"
        if is_tag(field) or value == field.get_default(call_default_factory=True):
            continue
        whole = (type(spec), name) in _WHOLE
        listed = value if isinstance(value, tuple) else (value,)
        parts = [one for one in listed if isinstance(one, BaseModel)]
        if whole or not parts:
            yield path
            continue
        for part in parts:
            yield from given(part, f"{path}{_mark(type(part), many=value is not part)}.")


def is_tag(field: FieldInfo) -> bool:
    """Says which of several kinds its part is, by the one word that it may have."""
    return get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1


def _parts(annotation: Any, *, many: bool = False) -> Iterator[tuple[str, type[BaseModel]]]:
    """The models in a field's type, each with what follows the field's name in a path."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation not in _NEVER_ASKED:
            yield _mark(annotation, many=many), annotation
    elif get_origin(annotation) is Annotated:
        yield from _parts(get_args(annotation)[0], many=many)
    elif get_origin(annotation) not in (dict, Mapping):
        listed = many or get_origin(annotation) is tuple
        for one in get_args(annotation):
            yield from _parts(one, many=listed)


def _mark(model: type[BaseModel], *, many: bool) -> str:
    tag = model.model_fields.get("type")
    kind = tag.default if tag is not None and is_tag(tag) else ""
    return f"[{kind}]" if many else ""

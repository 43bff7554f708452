"""Flavors: sets of limits that a request names instead of spelling them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from longshore.errors import InvalidSpec
from longshore.model.faults import faults_of
from longshore.model.limits import Flavor, FlavorAsked, Limits
from longshore.model.spec import ContainerSpec
from longshore.model.status import FlavorStatus


@dataclass(frozen=True)
class Flavors:
    """What a node has on offer.

    Args:
        default: the one that counts for a request without any; None: none does.
    """

    by_name: Mapping[str, Flavor] = field(default_factory=dict)
    default: str | None = None

    def filled(self, spec: ContainerSpec) -> ContainerSpec:
        """The spec with its flavor's limits where its own leave something open.

        Raises:
            InvalidSpec: this node has no such flavor, or its limits contradict those asked for.
        """
        wanted = spec.flavor or (FlavorAsked(name=self.default) if self.default else None)
        if wanted is None:
            return spec
        base = wanted.limits if wanted.limits is not None else self._limits(spec.name, wanted.name)
        try:
            limits = spec.limits.over(base)
        except ValidationError as error:
            raise _contradiction(spec.name, wanted.name, error) from None
        return spec.but(flavor=wanted, limits=limits)

    def statuses(self) -> list[FlavorStatus]:
        """By name."""
        return [
            FlavorStatus(name=one.name, description=one.description, limits=one.limits)
            for _, one in sorted(self.by_name.items())
        ]

    def _limits(self, container: str, name: str) -> Limits:
        known = self.by_name.get(name)
        if known is not None:
            return known.limits
        offer = ", ".join(sorted(self.by_name)) or "none"
        why = f"this node has no flavor {name} (it has {offer})"
        raise InvalidSpec(
            f"cannot create container {container}: flavor: {why}",
            field="flavor",
            object=container,
            hint="name one of them, or bring its limits along",
            details={
                "faults": [{"field": "flavor", "why": why}],
                "flavors": sorted(self.by_name),
            },
        )


def _contradiction(container: str, flavor: str, error: ValidationError) -> InvalidSpec:
    faults = [
        {
            "field": "limits" if one["field"] == "limits" else f"limits.{one['field']}",
            "why": f"{one['why']} (with flavor {flavor})",
        }
        for one in faults_of(error, "limits")
    ]
    return InvalidSpec(
        f"cannot create container {container}: {faults[0]['field']}: {faults[0]['why']}",
        field=faults[0]["field"],
        object=container,
        hint=f"flavor {flavor} fills in what limits leave open",
        details={"faults": faults},
    )

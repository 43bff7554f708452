"""Whether this node takes a container, and what is claimed for it.

`check` asks the neighbours and claims nothing; `claim` runs inside the transaction that journals
the intent, so that of two creates that want one name, address or port exactly one gets it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from longshore.errors import (
    AddressInUse,
    BadImage,
    ContainerExists,
    ImageNotFound,
    InvalidRequest,
    InvalidSpec,
    NameInUse,
    PortInUse,
)
from longshore.lifecycle.borrowing import claim_borrowed
from longshore.lifecycle.idclaims import claim_ids
from longshore.lifecycle.ports import Host, ImageSources, Transaction
from longshore.lifecycle.volumes import claim_named
from longshore.model.addressing import (
    HostPort,
    NetworkConfig,
    check_address,
    check_port,
    choose_address,
    choose_port,
)
from longshore.model.capacity import Stock, amounts, exhausted, lacks
from longshore.model.flavors import Flavors
from longshore.model.host import Image, Nic, PublishedPort
from longshore.model.idranges import IdRanges
from longshore.model.names import Names
from longshore.model.nics import PortSpec
from longshore.model.record import Facts, Record
from longshore.model.reference import canonical, is_glance
from longshore.model.spec import ContainerSpec
from longshore.model.state import State
from longshore.model.transfer import Auth, Credential, PullPolicy
from longshore.model.usage import used_key

#: An automatic port that a process of the host has is passed over; this many in a row are enough.
_PORT_TRIES = 32


@dataclass(frozen=True)
class Admission:
    """Args:
    policy: raises for what the node refuses whoever asks.
    flavors: those of the node, as they are now.
    stock: what limits can promise of the node, as it is now; asks nobody who could be stuck.
    automatic_ports: host ports to choose from.
    seen: names of images that were here when somebody looked, and have not been removed since.
    id_ranges: numbers of the node for containers with a user namespace.
    beside: what each container is promised whatever its limits: room for its log.
    """

    host: Host
    sources: ImageSources
    networks: Mapping[str, NetworkConfig]
    automatic_ports: range
    policy: Callable[[ContainerSpec], None]
    flavors: Callable[[], Flavors]
    stock: Callable[[], Sequence[Stock]]
    seen: set[str] = field(default_factory=set)
    id_ranges: IdRanges = field(default_factory=IdRanges)
    beside: Mapping[str, float] = field(default_factory=dict)

    def filled(self, spec: ContainerSpec) -> ContainerSpec:
        """The spec with what its flavor adds. Raises InvalidSpec."""
        return self.flavors().filled(spec)

    def check(self, spec: ContainerSpec, credential: Credential | None = None) -> Facts:
        """Returns the image that the container is made from, if that is known already.

        Raises:
            InvalidSpec, PolicyForbids, ImageNotFound, PortInUse: before anything is journalled.
        """
        self.check_host(spec)
        return Facts(image=self._image(spec, credential))

    def check_host(self, spec: ContainerSpec) -> None:
        """All of that but for the image. Raises as `check`."""
        self.policy(spec)
        if spec.security.user_namespace:
            self.host.users.check()
        self.host.volumes.check(spec.mounts, mapped=spec.security.user_namespace)
        if spec.limits.disk is not None:
            self.host.disks.check(spec.limits.disk, spec.security)
        self.host.files.check(spec)
        self.host.secrets.check(spec.secrets)
        for index, port in enumerate(spec.ports):
            if port.host_port is not None:
                self._check_listener(HostPort(port.protocol, port.host_ip, port.host_port), index)

    def sealed(self, spec: ContainerSpec) -> Mapping[str, str]:
        """The values of its secrets, as they may be journalled."""
        return self.host.secrets.seal(Names(spec.id), spec.secrets)

    def marks(self, spec: ContainerSpec) -> Mapping[str, str]:
        """What tells the values of its secrets from others, and nobody what they are."""
        return self.host.secrets.mark(spec.secrets)

    def is_ready(self, spec: ContainerSpec) -> bool:
        """Whether a create will not have to wait for an image, as far as is known.

        It decides who is served with whom, so what was here when somebody last looked is enough.
        """
        name = canonical(spec.image)
        if not _may_be_pinned(spec):
            return False
        if name in self.seen:
            return True
        try:
            self.host.images.get(name)
        except (ImageNotFound, BadImage):
            return PullPolicy(spec.pull) is PullPolicy.NEVER
        self.seen.add(name)
        return True

    def _image(self, spec: ContainerSpec, credential: Credential | None) -> Image | None:
        """The image if it is here and nobody need be asked what its name means now."""
        name, policy = canonical(spec.image), PullPolicy(spec.pull)
        here = None
        if policy is not PullPolicy.ALWAYS:
            try:
                here = self.host.images.get(name)
                self.seen.add(name)
            except ImageNotFound:
                self.seen.discard(name)
                if policy is PullPolicy.NEVER:
                    raise
        pinned = here if _may_be_pinned(spec) else None
        if pinned is not None and spec.image_credential is None:
            return pinned
        try:
            self.sources.check(name, Auth(credential, spec.image_credential))
        except InvalidRequest as error:
            if here is not None and spec.image_credential is None:
                # There is nobody here who could say that Glance's image has changed.
                return here
            at = error.field or "image"
            raise InvalidSpec(
                f"cannot create container {spec.name}: {error}",
                field=at,
                object=spec.image,
                hint=error.hint,
                details={"faults": [{"field": at, "why": str(error)}]},
            ) from error
        return pinned

    def claim(
        self,
        tx: Transaction,
        asked: ContainerSpec,
        spec: ContainerSpec,
        facts: Facts,
        now: float,
        sealed: Mapping[str, str] | None = None,
    ) -> Facts:
        """Claims name, interface, volumes, what limits and secrets promise, addresses, host ports
        and user ids; returns what was chosen.

        Args:
            asked: the spec without what flavor and `volumes_from` add.
            spec: with the values of its secrets, as far as they are not in `sealed`.
            facts: user ids in them stay, if it is to have any.
            now: Unix seconds.

        Raises:
            NameInUse, AddressInUse, PortInUse, Exhausted, InvalidSpec, HostBusy: nothing is
                claimed then, since the transaction is rolled back.
        """
        tx.release(spec.id)
        if facts.image is not None:
            tx.remember(used_key(facts.image.digest), str(now))
        names = Names(spec.id)
        if holder := tx.claim("name", spec.name, spec.id):
            raise NameInUse(
                f"cannot create container {spec.name}: the name is taken by container {holder}",
                field="name",
                object=spec.name,
            )
        if holder := tx.claim("interface", names.veth, spec.id):
            raise NameInUse(
                f"cannot create container {spec.name}: its id ends like that of container {holder}",
                field="id",
                object=spec.id,
            )
        claim_named(tx, spec, now)
        claim_borrowed(tx, asked, spec)
        self._promise(tx, spec, sealed or {})
        nics = tuple(self._nic(tx, spec, index) for index in range(len(spec.interfaces)))
        ports = self._ports(tx, spec, nics)
        ids = claim_ids(tx, spec, self.id_ranges, facts.ids)
        return facts.model_copy(update={"nics": nics, "ports": ports, "ids": ids})

    def amounts(self, spec: ContainerSpec, sealed: Mapping[str, str]) -> Mapping[str, float]:
        """What it has to be promised: resource → amount. `sealed`: values that it has not."""
        secrets = sum(one.memory_of(sealed.get(one.name)) for one in spec.secrets)
        return amounts(spec.limits, secrets, self.beside)

    def _promise(self, tx: Transaction, spec: ContainerSpec, sealed: Mapping[str, str]) -> None:
        wanted = self.amounts(spec, sealed)
        if lacking := list(lacks(wanted, self.stock(), tx.promised)):
            raise exhausted(spec.name, lacking)
        for resource, amount in wanted.items():
            tx.promise(resource, amount, spec.id)

    def _nic(self, tx: Transaction, spec: ContainerSpec, index: int) -> Nic:
        asked = spec.interfaces[index]
        network = self.networks[asked.network]
        kind = f"address of {network.name}"
        taken = tx.claims(kind)
        if asked.address is not None:
            address = check_address(network, asked.address, taken, f"nics[{index}].address")
        else:
            address = choose_address(network, taken, tx.recall(kind))
            tx.remember(kind, address)
        tx.claim(kind, address, spec.id)
        mac = asked.mac or Names(spec.id).mac
        if tx.claim(f"mac of {network.name}", mac, spec.id):
            raise AddressInUse(
                f"cannot create container {spec.name}: MAC address {mac} is taken",
                field=f"nics[{index}].mac",
                object=mac,
            )
        return network.nic(address, mac, f"eth{index}")

    def _ports(
        self, tx: Transaction, spec: ContainerSpec, nics: tuple[Nic, ...]
    ) -> tuple[PublishedPort, ...]:
        published = []
        for index, port in enumerate(spec.ports):
            taken = [HostPort.parse(key) for key in tx.claims("port")]
            if port.host_port is None:
                chosen = self._choose_port(tx, port, taken, index)
            else:
                chosen = HostPort(port.protocol, port.host_ip, port.host_port)
                check_port(chosen, taken, f"ports[{index}].host_port")
            tx.claim("port", str(chosen), spec.id)
            published.append(
                PublishedPort(
                    protocol=port.protocol,
                    host_ip=port.host_ip,
                    host_port=chosen.port,
                    address=nics[0].address,
                    container_port=port.container_port,
                )
            )
        return tuple(published)

    def _choose_port(
        self, tx: Transaction, port: PortSpec, taken: Collection[HostPort], index: int
    ) -> HostPort:
        """Round and round, like addresses, and past what processes of the host listen on."""
        memory = f"last port {port.protocol}"
        last = tx.recall(memory)
        passed = list(taken)
        for tries_left in range(_PORT_TRIES, 0, -1):
            chosen = choose_port(
                port.protocol,
                port.host_ip,
                self.automatic_ports,
                passed,
                int(last) if last else None,
            )
            try:
                self._check_listener(chosen, index)
            except PortInUse:
                if tries_left == 1:
                    raise
                passed.append(chosen)
                continue
            tx.remember(memory, str(chosen.port))
            return chosen
        raise AssertionError("the last try returns or raises")

    def _check_listener(self, port: HostPort, index: int) -> None:
        try:
            self.host.network.check_port_free(port.protocol, port.host_ip, port.port)
        except PortInUse as error:
            error.field = f"ports[{index}].host_port"
            raise
        except InvalidSpec as error:
            error.field = f"ports[{index}].host_ip"
            error.details["faults"] = [{**one, "field": error.field} for one in error.faults]
            raise


def check_new(spec: ContainerSpec, present: Record | None) -> None:
    """Raises ContainerExists unless there is none of its id, or one whose create failed."""
    if present is not None and present.state is not State.FAILED:
        raise ContainerExists(
            f"cannot create container {spec.name}: its id is taken by container "
            f"{present.name}, which is {present.state}",
            field="id",
            object=spec.id,
        )


def _may_be_pinned(spec: ContainerSpec) -> bool:
    """Whether what is here under the image's name is good without asking its source."""
    policy = PullPolicy(spec.pull)
    if policy is PullPolicy.IF_NOT_PRESENT:
        return not is_glance(spec.image)
    return policy is PullPolicy.NEVER

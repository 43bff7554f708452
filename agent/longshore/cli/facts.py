"""`inspect -o table`: the whole of a container for people. What is not there is left out.

Pure, as `tables`. From the spec it reads what it knows and passes over the rest: a newer agent's
may have more.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from longshore.cli import units
from longshore.cli.tables import port_text, status_text
from longshore.model.limits import BYTES
from longshore.model.status import ContainerStatus, HealthStatus, LimitsStatus, OutOfMemory

Spec = Mapping[str, Any]
#: Flags of a spec, and what they say for it.
_FLAGS = (
    ("security.privileged", "privileged"),
    ("security.read_only_rootfs", "read-only root file system"),
    ("init", "an init process"),
    ("auto_remove", "removed once it has ended"),
)


def container_facts(one: ContainerStatus, now: float) -> list[tuple[str, str]]:
    """Names and values, in the order in which they are shown."""
    error, spec = one.error, one.spec
    facts = [
        ("Container", one.name),
        ("Id", one.id),
        ("Image", one.image),
        ("Digest", one.image_digest or ""),
        ("Command", " ".join(one.command)),
        ("Status", status_text(one, now)),
        ("Wanted", f"{one.desired} (generation {one.generation})"),
        ("Version", version_text(one)),
        ("Reason", one.reason),
        ("Error", f"{error.code}: {error.message}" if error else ""),
        ("Hint", (error.hint or "") if error else ""),
        ("Health", _health(one.health, now) if one.health else ""),
        ("Out of memory", _out_of_memory(one.out_of_memory, now) if one.out_of_memory else ""),
        ("Created", units.moment(one.created_at)),
        ("Started", units.moment(one.started_at) if one.started_at else ""),
        ("Ended", units.moment(one.finished_at) if one.finished_at else ""),
        ("Pid", str(one.pid or "")),
        *(
            ("Nic", f"{n.interface} {n.address}/{n.prefix} {n.mac} on {n.network}")
            for n in one.nics
        ),
        ("Network", "the node's own" if spec.get("host_network") else ""),
        *(("Port", port_text(port)) for port in one.ports),
        *(("Mount", _mount(m)) for m in spec.get("mounts", ()) if not _is_anonymous(m)),
        *(
            ("Mount", f"{m.target} (anonymous{', read only' if m.read_only else ''})")
            for m in one.mounts
            if (m.type, m.source) == ("anonymous", one.id)
        ),
        *((name, value) for name, of in _SPEC for value in of(spec)),
        ("Users", f"0 is {one.ids.first} on the node, {one.ids.size} of them" if one.ids else ""),
        ("Flavor", (spec.get("flavor") or {}).get("name", "")),
        ("Limits", _limits(one.limits) if one.limits else ""),
        *(("Label", f"{key}={value}") for key, value in sorted(one.labels.items())),
    ]
    return [(name, value) for name, value in facts if value]


def version_text(one: ContainerStatus) -> str:
    """`3`, `3 (on trial; 2 comes back if it is no good)`, `2 (3 once it is started again)`."""
    notes = []
    if one.previous_version is not None:
        notes.append(f"on trial; {one.previous_version} comes back if it is no good")
    if one.pending_version is not None:
        notes.append(f"{one.pending_version} once it is started again")
    return f"{one.version} ({'; '.join(notes)})" if notes else str(one.version)


def _is_anonymous(mount: Spec) -> bool:
    return mount["type"] == "volume" and mount.get("name") is None


def _mount(mount: Spec) -> str:
    if mount["type"] == "tmpfs":
        words = [f"tmpfs, {units.size(float(mount['size']))}"]
        words += ["executable"] if mount.get("executable") else []
        return f"{mount['target']} ({', '.join(words)})"
    if mount["type"] == "volume":
        what = f"volume {mount['name']}"
    elif mount["type"] == "borrowed":
        what = f"anonymous volume {mount['index']} of {mount['container']}"
    else:
        what = mount["source"]
    words = ["read only" if mount.get("read_only") else "writable"]
    words += [mount["propagation"]] if "propagation" in mount else []
    if mount.get("recursive", "enabled") != "enabled":
        words.append(f"mounts beneath it {mount['recursive']}")
    return f"{what} at {mount['target']} ({', '.join(words)})"


def _words(asked: Sequence[str] | None) -> str:
    """`none`: not the image's either."""
    return "" if asked is None else shlex.join(asked) or "none"


def _hosts(spec: Spec) -> Iterator[str]:
    return (f"{name} is {address}" for name, address in sorted(spec.get("hosts", {}).items()))


def _dns(spec: Spec) -> Iterator[str]:
    for name, values in spec.get("dns", {}).items():
        if values:
            yield f"{name} {' '.join(values)}"


def _identity(spec: Spec) -> Iterator[str]:
    """What its own are of it; the image's and the node's are not told."""
    if spec.get("user") or spec.get("groups"):
        groups = ", ".join(spec.get("groups", ()))
        yield (spec.get("user") or "the image's") + (f" and {groups}" if groups else "")


def _full_name(spec: Spec) -> Iterator[str]:
    if spec.get("hostname") or spec.get("domain"):
        host = spec.get("hostname") or spec.get("name", "")
        yield f"{host}.{spec['domain']}" if spec.get("domain") else host


def _files(spec: Spec) -> Iterator[str]:
    for one in spec.get("files", ()):
        yield f"{one['target']} ({_owned(one)})"


def _secrets(spec: Spec) -> Iterator[str]:
    for one in spec.get("secrets", ()):
        source = f", the node's {one['reference']}" if one.get("reference") else ""
        place = one.get("target") or f"/run/secrets/{one['name']}"
        yield f"{one['name']} at {place} ({_owned(one)}{source})"


def _owned(one: Spec) -> str:
    return f"mode {one.get('mode', 0):04o}, user {one.get('uid', 0)}, group {one.get('gid', 0)}"


def _key_pair(spec: Spec) -> Iterator[str]:
    pair = spec.get("key_pair")
    if pair:
        count = len(pair["public_keys"])
        yield f"{pair['name']} ({count} public key{'s' if count != 1 else ''})"


def _devices(spec: Spec) -> Iterator[str]:
    for one in spec.get("security", {}).get("devices", ()):
        yield f"{one['source']} at {one.get('target') or one['source']} ({one.get('access')})"


def _flags(spec: Spec) -> Iterator[str]:
    security = spec.get("security", {})
    said = [
        words
        for path, words in _FLAGS
        if (security if path.startswith("security.") else spec).get(path.rpartition(".")[2])
    ]
    said += [f"+{name}" for name in security.get("cap_add", ())]
    said += [f"-{name}" for name in security.get("cap_drop", ())]
    return iter([", ".join(said)])


def _pairs(*path: str) -> Callable[[Spec], Iterator[str]]:
    def of(spec: Spec) -> Iterator[str]:
        for part in path:
            spec = spec.get(part, {})
        return (f"{name}={value}" for name, value in sorted(spec.items()))

    return of


def _check(spec: Spec) -> Iterator[str]:
    """What was asked for; what the image says is told with the image."""
    check = spec.get("health")
    if not check:
        return
    kind = "https" if check.get("tls") else check.get("type", "")
    page = check.get("path", "/") if check.get("type") == "http" else ""
    what = f"{check['port']}{page}" if check.get("port") else shlex.join(check.get("command") or ())
    pace = "" if kind == "none" else f"every {check.get('interval', 30):g} s"
    yield " ".join(filter(None, (kind, what, pace)))


#: What of the spec is shown under which name.
_SPEC: Sequence[tuple[str, Callable[[Spec], Iterator[str]]]] = (
    ("Entrypoint", lambda spec: iter([_words(spec.get("entrypoint"))])),
    ("Env", _pairs("env")),
    ("Folder", lambda spec: iter([spec.get("workdir") or ""])),
    ("Health check", _check),
    ("Stop signal", lambda spec: iter([spec.get("stop_signal") or ""])),
    ("File", _files),
    ("Secret", _secrets),
    ("Key pair", _key_pair),
    ("Host name", _full_name),
    ("Host", _hosts),
    ("DNS", _dns),
    ("Time zone", lambda spec: iter([spec.get("timezone") or ""])),
    ("User", _identity),
    ("With", _flags),
    ("Device", _devices),
    ("Sysctl", _pairs("security", "sysctls")),
    ("Annotation", _pairs("annotations")),
)


def _health(health: HealthStatus, now: float) -> str:
    facts = [
        health.state,
        f"{health.failures} failed in a row" if health.failures else "",
        f"probed {units.ago(health.at, now)}" if health.at is not None else "",
        f"acted {len(health.acted)} times within an hour" if health.acted else "",
    ]
    said = f": {health.output}" if health.output else ""
    return ", ".join(filter(None, facts)) + said


def _out_of_memory(last: OutOfMemory, now: float) -> str:
    peak = f", at most {units.size(last.peak)}" if last.peak is not None else ""
    limit = f" of {units.size(last.limit)}" if last.limit is not None else ""
    where = f" in {last.cgroup}" if last.cgroup else ""
    return f"{units.ago(last.at, now)}{peak}{limit}{where}"


def _limits(limits: LimitsStatus) -> str:
    found = {name: value for name, value in limits.to_dict().items() if value not in (None, [], {})}
    return ", ".join(f"{name} {_limit(name, value)}" for name, value in found.items()) or "none"


def _limit(name: str, value: Any) -> str:
    if name in BYTES:
        return units.size(value)
    if name == "hugepages":
        return " ".join(f"{size}={units.size(most)}" for size, most in value.items())
    if name == "ulimits":
        return " ".join(f"{one['name']}={one['soft']}:{one['hard']}" for one in value)
    if name == "io":
        return " ".join(_io(one) for one in value)
    return str(value)


def _io(one: Spec) -> str:
    rates = (f"{kind}={rate}" for kind, rate in one.items() if kind != "device" and rate)
    return f"{one['device']} ({', '.join(rates)})"

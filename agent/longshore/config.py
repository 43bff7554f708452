"""The agent's configuration: read, checked as a whole, and shown as a sample.

The options are declared in options.py; the rest of the agent sees only the frozen `Config`.
"""

from __future__ import annotations

import logging
import re
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, TypeVar

from oslo_config import cfg
from oslo_log import log

from longshore import __version__
from longshore.errors import InvalidRequest
from longshore.model.idranges import SIZE
from longshore.options import OPTIONS

_LOCATION = re.compile(r"LocationInfo\(location=<[^>]*>, detail=['\"]([^'\"]*)['\"]\)")
T = TypeVar("T")
#: Said of an option that SIGHUP has read again.
RELOADED = " (reload)"
DEFAULT_FILE = Path("/etc/longshore/longshore.conf")

#: The driver complains every second while the broker is down; bus/server.py says it once.
_LEVELS = [
    "oslo.messaging._drivers.impl_rabbit=CRITICAL",
    "oslo.messaging=WARNING",
    # Says for each reply of a burst that it waits its millisecond.
    "oslo_messaging._drivers.pool=ERROR",
    "amqp=ERROR",
]

#: Of oslo.log's options those that say how much is told.
_LOGGING = ("debug", "default_log_levels")

#: A password in a `transport_url = rabbit://user:password@host`, or [glance]'s.
_PASSWORD = re.compile(
    r"^(?:transport_url\s*[=:].*://[^/\s]*:[^/\s]+@"
    r"|(?:password|application_credential_secret)[ \t]*[=:][ \t]*\S)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Config:
    """The options, checked and with their types. `raw` is for oslo.messaging and oslo.log."""

    raw: cfg.ConfigOpts
    node_name: str
    state_dir: Path
    run_dir: Path
    subnet: IPv4Network
    gateway: IPv4Address
    #: How it was loaded, so that it can be loaded again.
    arguments: tuple[str, ...] = ()
    files: tuple[Path, ...] | None = None

    def __getattr__(self, group: str) -> Any:
        """The option groups: `config.containerd.socket`."""
        if group not in OPTIONS:
            raise AttributeError(group)
        return getattr(self.raw, group)


def declare(conf: cfg.ConfigOpts) -> None:
    for group, options in OPTIONS.items():
        conf.register_opts(options, group=None if group == "DEFAULT" else group)


def load(arguments: Sequence[str], files: Sequence[Path] | None = None) -> Config:
    """Reads the files (the default one only if it is there), then the environment.

    Raises:
        InvalidRequest: naming the option that is wrong.
    """
    conf = cfg.ConfigOpts()
    declare(conf)
    log.register_options(conf)
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), *_LEVELS])
    asked = None if files is None else tuple(files)
    if files is None:
        files = [DEFAULT_FILE] if DEFAULT_FILE.is_file() else []
    try:
        conf(
            list(arguments),
            project="longshore",
            version=__version__,
            default_config_files=[str(file) for file in files],
        )
        for group, options in OPTIONS.items():
            for option in options:
                _ = (conf if group == "DEFAULT" else conf[group])[option.dest]
        return replace(_checked(conf), arguments=tuple(arguments), files=asked)
    except (cfg.Error, ValueError) as error:
        raise InvalidRequest(f"cannot use the configuration: {_plain(error)}") from error


def again(config: Config) -> Config:
    """The same, from the files as they are now. Raises InvalidRequest."""
    return load(config.arguments, config.files)


def differences(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """Which options differ, by their names: those that may change in a running agent, and others.

    Of oslo.log's and oslo.messaging's it knows those for log levels; oslo.config's own warning
    names the rest.
    """
    changed: list[str] = []
    ignored: list[str] = []
    for group, options in OPTIONS.items():
        for option in options:
            if _value(old, group, option) != _value(new, group, option):
                (changed if option.mutable else ignored).append(f"[{group}] {option.name}")
    changed += [f"[DEFAULT] {name}" for name in _LOGGING if old.raw[name] != new.raw[name]]
    return changed, ignored


def adopt(config: Config, new: Config) -> None:
    """Has the options that may change have their new values, and log levels take effect.

    Raises:
        InvalidRequest: the file that log_config_append names is wrong; or the files were changed
            again meanwhile, and are wrong now.
    """
    before = dict(pair.partition("=")[::2] for pair in config.raw.default_log_levels)
    try:
        config.raw.mutate_config_files()
    except (cfg.Error, ValueError, log.LogConfigError) as error:
        raise InvalidRequest(f"cannot use the configuration: {_plain(error)}") from error
    levels = dict(pair.partition("=")[::2] for pair in new.raw.default_log_levels)
    for name in before.keys() | levels.keys():
        logging.getLogger(name).setLevel(levels.get(name, "NOTSET"))


def _value(config: Config, group: str, option: cfg.Opt) -> Any:
    return (config.raw if group == "DEFAULT" else config.raw[group])[option.dest]


def findings(config: Config) -> list[str]:
    """What is wrong with the files that were read, one sentence each; as they are now."""
    files = [Path(file) for file in config.raw.config_file]
    for folder in config.raw.config_dir:
        files += sorted(Path(folder).glob("*.conf"))
    return [
        f"{file} holds a password and everybody can read it: chmod 0640 {file}"
        for file in files
        if _tells_everybody(file)
    ]


def _tells_everybody(file: Path) -> bool:
    try:
        return bool(
            file.stat().st_mode & stat.S_IROTH
            and _PASSWORD.search(file.read_text(errors="replace"))
        )
    except OSError:
        return False  # Gone, or not ours to read: then it tells nobody anything new.


def _checked(conf: cfg.ConfigOpts) -> Config:
    subnet = _read("[network] subnet", IPv4Network, conf.network.subnet)
    if subnet.num_addresses < 8:
        raise ValueError(f"[network] subnet {subnet} is too small: use /29 or larger")
    gateway = _read(
        "[network] gateway", IPv4Address, conf.network.gateway or subnet.network_address + 1
    )
    if gateway not in subnet:
        raise ValueError(f"[network] gateway {gateway} is not in the subnet {subnet}")
    if conf.images.low_watermark >= conf.images.high_watermark:
        raise ValueError("[images] low_watermark must be below high_watermark")
    if conf.userns.first + conf.userns.count * SIZE > 2**32 - 1:
        raise ValueError(f"[userns] first and count go beyond the last number, {2**32 - 2}")
    for root in conf.volumes.roots:
        _absolute("[volumes] roots", root)
    if conf.network.port_min > conf.network.port_max:
        raise ValueError("[network] port_min is above port_max")
    return Config(
        conf,
        node_name=conf.node_name or socket.gethostname(),
        state_dir=_absolute("state_dir", conf.state_dir),
        # What is mounted there, the kernel shows without links, such as /var/run.
        run_dir=_absolute("run_dir", conf.run_dir).resolve(),
        subnet=subnet,
        gateway=gateway,
    )


def _read(option: str, kind: Callable[[Any], T], value: Any) -> T:
    try:
        return kind(value)
    except ValueError as error:
        raise ValueError(f"{option} is {value!r}: {error}") from error


def _absolute(option: str, value: str) -> Path:
    path = Path(value)
    if not path.is_absolute():
        raise ValueError(f"{option} must be an absolute path, not {value!r}")
    return path


def _plain(error: Exception) -> str:
    """oslo.config says where a value is from as Python would write it."""
    return _LOCATION.sub(r"\1", " ".join(str(error).split()))


def sample() -> Iterator[str]:
    """Lines of a configuration file that sets nothing and explains everything."""
    yield "# Configuration of longshore-agent. Each option is shown with its default."
    yield "# The environment overrides it: OS_<GROUP>__<OPTION>, such as OS_DEFAULT__NODE_NAME."
    yield "# (reload): `systemctl reload longshore-agent` is enough, else it takes a restart."
    yield "# Options of oslo.log (debug, log_file, use_journal) and oslo.messaging"
    yield "# ([oslo_messaging_rabbit] ssl, ...) may stand here too."
    for group, options in OPTIONS.items():
        yield ""
        yield f"[{group}]"
        if group == "DEFAULT":
            yield "# The message queue: rabbit://user:password@host:5672/vhost"
            yield "#transport_url = rabbit://"
        for option in options:
            yield ""
            yield f"# {option.help}{RELOADED if option.mutable else ''}"
            if getattr(option.type, "choices", None):
                yield f"# One of: {', '.join(option.type.choices)}"
            yield f"#{option.name} = {shown_default(option)}"


def shown_default(option: cfg.Opt) -> str:
    """The default as it would be written in the file."""
    if option.default is None:
        return f"<{option.sample_default}>"
    if isinstance(option.default, list):
        return ",".join(option.default)
    return str(option.default)

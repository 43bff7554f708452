"""Dockerfile instructions that change the config of an image, as `commit --change` takes them.

They mean what they mean in a Dockerfile (quoting, `$VARIABLE` of the image's environment, JSON and
shell forms), on the image that is being committed. Pure.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from longshore.errors import InvalidRequest
from longshore.model.linux import signal_number

_SHELL = ["/bin/sh", "-c"]
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.ASCII | re.IGNORECASE)
_NAME = re.compile(r"\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*)", re.ASCII)
#: In double quotes a backslash is itself before anything else.
_ESCAPED_IN_QUOTES = '"$\\'
_PORT_MAX = 65535
#: The document is held in memory, and shown in `inspect`.
_CHANGES_MAX, _CHANGE_MAX = 256, 64 * 1024

Config = dict[str, Any]


def changed(config: Mapping[str, Any], changes: Sequence[str]) -> Config:
    """The image's config (`Env`, `Cmd`, … as OCI names them) after the changes, in their order.

    Raises:
        InvalidRequest: with `changes[i]` as its field.
    """
    if len(changes) > _CHANGES_MAX:
        raise InvalidRequest(
            f"cannot change the image: more than {_CHANGES_MAX} changes", field="changes"
        )
    result = dict(config)
    for number, change in enumerate(changes):
        try:
            name, rest = _split(change)
            _INSTRUCTIONS[name](result, rest)
        except ValueError as error:
            raise InvalidRequest(
                f"cannot change the image: {change[:80]!r}: {error}", field=f"changes[{number}]"
            ) from None
    if _sets(changes, "ENTRYPOINT") and not _sets(changes, "CMD"):
        # The command was an argument of the entrypoint that is gone.
        result.pop("Cmd", None)
    return {name: value for name, value in result.items() if value not in (None, [], {}, "")}


def _split(change: str) -> tuple[str, str]:
    if len(change) > _CHANGE_MAX:
        raise ValueError(f"longer than {_CHANGE_MAX} characters")
    if any(not (letter.isprintable() or letter == "\t") for letter in change):
        raise ValueError("holds a character that cannot be printed")
    name, _, rest = change.strip().replace("\t", " ").partition(" ")
    if name.upper() not in _INSTRUCTIONS:
        raise ValueError(f"begins with none of {', '.join(_INSTRUCTIONS)}")
    if not rest.strip():
        raise ValueError(f"{name.upper()} needs an argument")
    return name.upper(), rest.strip()


def _sets(changes: Sequence[str], name: str) -> bool:
    return any(_split(change)[0] == name for change in changes)


def _cmd(config: Config, rest: str) -> None:
    config["Cmd"] = _command(rest)


def _entrypoint(config: Config, rest: str) -> None:
    config["Entrypoint"] = _command(rest)


def _command(rest: str) -> list[str]:
    """JSON's list as it is; anything else, even what only begins like one, is the shell's."""
    words = _json(rest)
    return [*_SHELL, rest] if words is None else words


def _env(config: Config, rest: str) -> None:
    known = _environment(config)
    known.update(_pairs(rest, known))
    config["Env"] = [f"{name}={value}" for name, value in known.items()]


def _label(config: Config, rest: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **_pairs(rest, _environment(config))}


def _expose(config: Config, rest: str) -> None:
    ports = dict(config.get("ExposedPorts") or {})
    for word in _words(rest, _environment(config)):
        found = _PORT.fullmatch(word)
        first = int(found[1]) if found else 0
        last = int(found[2] or first) if found else 0
        if found is None or not 0 < first <= last <= _PORT_MAX:
            raise ValueError(f"{word!r} is no port: it is written 80, 80/udp or 8000-8010/tcp")
        protocol = (found[3] or "tcp").lower()
        ports |= {f"{port}/{protocol}": {} for port in range(first, last + 1)}
    config["ExposedPorts"] = ports


def _stop_signal(config: Config, rest: str) -> None:
    word = _word(rest, config)
    signal_number(word)
    config["StopSignal"] = word


def _user(config: Config, rest: str) -> None:
    config["User"] = _word(rest, config)


def _volume(config: Config, rest: str) -> None:
    words = _json(rest)
    if words is None:
        words = _words(rest, _environment(config))
    paths = [_normal(word) for word in words]
    for word, path in zip(words, paths, strict=True):
        if not path.startswith("/") or path == "/" or ".." in word.split("/"):
            raise ValueError(f"{word!r} is no absolute path of a folder in the image")
    config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in paths}}


def _workdir(config: Config, rest: str) -> None:
    path = posixpath.join("/", config.get("WorkingDir") or "/", _word(rest, config))
    config["WorkingDir"] = _normal(path)


def _normal(path: str) -> str:
    """Without `.`, `..` and double slashes; POSIX would keep two at the beginning."""
    return re.sub("^/+", "/", posixpath.normpath(path))


def _json(text: str) -> list[str] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return None
    if any("\0" in one or not _is_text(one) for one in value):
        raise ValueError("holds a character that no argument can")
    return value


def _is_text(text: str) -> bool:
    """JSON can escape half a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _environment(config: Config) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in config.get("Env") or ())


def _word(rest: str, config: Config) -> str:
    words = _words(rest, _environment(config))
    if len(words) != 1 or not words[0]:
        raise ValueError("needs exactly one argument")
    return words[0]


def _pairs(rest: str, known: Mapping[str, str]) -> dict[str, str]:
    """`name=value …`, or the old `name value with blanks`."""
    name, blank, value = rest.partition(" ")
    if "=" not in name:
        if not blank:
            raise ValueError(f"{name!r} has no value: it is written name=value")
        return {_word_of(name, known): " ".join(_words(value, known))}
    pairs = [word.partition("=") for word in _words(rest, known)]
    for name, equals, _ in pairs:
        if not equals or not name:
            raise ValueError(f"{name!r} has no value: it is written name=value")
    return {name: value for name, _, value in pairs}


def _word_of(text: str, known: Mapping[str, str]) -> str:
    return "".join(_words(text, known))


def _words(text: str, known: Mapping[str, str]) -> list[str]:
    """As a Dockerfile has them: blanks separate, quotes and backslashes protect, `$` stands for
    the value of a variable, which is not split again."""
    words: list[str] = []
    word: str | None = None
    quote, at = "", 0
    while at < len(text):
        letter = text[at]
        at += 1
        if not quote and letter == " ":
            words += [] if word is None else [word]
            word = None
            continue
        word = word or ""
        if letter in ("'", '"') and quote in ("", letter):
            quote = "" if quote else letter
        elif letter == "\\" and quote != "'" and at < len(text):
            keeps = quote and text[at] not in _ESCAPED_IN_QUOTES
            word += letter + text[at] if keeps else text[at]
            at += 1
        elif letter == "$" and quote != "'":
            value, at = _variable(text, at, known)
            word += value
        else:
            word += letter
    if quote:
        raise ValueError(f"a {quote} is not closed")
    return words if word is None else [*words, word]


def _variable(text: str, at: int, known: Mapping[str, str]) -> tuple[str, int]:
    found = _NAME.match(text, at)
    if found is None:
        if text.startswith("{", at):
            raise ValueError("${…} must hold the name of a variable, and nothing else")
        return "$", at
    return known.get(found[1] or found[2], ""), found.end()


_INSTRUCTIONS: Mapping[str, Callable[[Config, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "LABEL": _label,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}

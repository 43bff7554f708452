"""Whom a process runs as: `name|uid[:group|gid]` in numbers, as Docker reads it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from longshore.errors import StartFailed
from longshore.model.host import User

#: (uid_t)-1 means 'leave it'; Docker and runc stop at the largest signed number.
_ID_MAX = 2**31 - 1


def resolve(user: str, passwd: str, group: str, groups: Sequence[str] = ()) -> User:
    """The numbers for `user` from the contents of /etc/passwd and /etc/group.

    Empty means root. Numbers need no entry. Without a group given it is the user's own, with
    all the groups that list the user; with one, it is that group alone. `groups` come beside
    either.

    Raises:
        StartFailed: the name of a user or group is not in its file.
    """
    who, _, which = user.partition(":")
    who = who or "0"
    entry = next((line for line in _lines(passwd, 7) if _matches(line, who)), None)
    if entry is None:
        uid, gid, home, name = _number(who, "user", "/etc/passwd"), 0, "", None
    else:
        uid, gid, home, name = int(entry[2]), int(entry[3]), entry[5], entry[0]
    others = {_group(one, group, f"groups[{index}]") for index, one in enumerate(groups)}
    if which:
        gid = _group(which, group, "user")
    elif name is not None:
        others |= {int(line[2]) for line in _lines(group, 4) if name in line[3].split(",")}
    home = home or ("/root" if uid == 0 else "/")
    return User(uid=uid, gid=gid, groups=tuple(sorted(others)), home=home)


def names(passwd: str) -> dict[int, str]:
    """User's number → name, from the contents of /etc/passwd; the first line of a number counts."""
    found: dict[int, str] = {}
    for line in _lines(passwd, 7):
        found.setdefault(int(line[2]), line[0])
    return found


def _group(text: str, group: str, field: str) -> int:
    found = next((line for line in _lines(group, 4) if _matches(line, text)), None)
    return _number(text, "group", "/etc/group", field) if found is None else int(found[2])


def _lines(text: str, fields: int) -> Iterator[list[str]]:
    """Well-formed lines of either file; the third field of both is a number."""
    for line in text.splitlines():
        parts = line.strip().split(":")
        numbers = parts[2:4] if fields == 7 else parts[2:3]
        if len(parts) >= fields and all(_is_id(number) for number in numbers):
            yield parts


def _matches(line: list[str], text: str) -> bool:
    """A number is always an id, even where somebody is called that."""
    return int(line[2]) == int(text) if _is_id(text) else line[0] == text


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= _ID_MAX


def _number(text: str, kind: str, file: str, field: str = "user") -> int:
    if _is_id(text):
        return int(text)
    why = f"above {_ID_MAX}" if text.isdigit() else f"not in the image's {file}"
    raise StartFailed(f"cannot run as {kind} {text}: {why}", field=field, object=text)

"""What a runtime says when it refuses a container, in one line and with the right kind. Pure."""

from __future__ import annotations

import re

from longshore.errors import CommandNotFound, HostFailed, StartFailed

#: runc and crun, each for a name looked for in PATH and for a path. Other missing files (a mount's
#: source, a library) say 'no such file' too, so the words around it count.
_NO_COMMAND = (
    re.compile(r'exec: "(?P<command>[^"]*)": executable file not found'),
    re.compile(r'exec: "(?P<command>[^"]*)": stat \S+: no such file or directory'),
    re.compile(r"executable file `(?P<command>[^`]*)` not found"),
    re.compile(r"exec (?P<command>\S+): no such file or directory"),
)
_NOT_EXECUTABLE = re.compile(
    r'exec: "(?P<command>[^"]*)": (permission denied|is a directory)'
    r"|^open executable: Permission denied"
)
#: What containerd, the shim and the runtime put around the reason.
_WRAPPING = (
    re.compile(r"^cannot [^:]*: "),
    re.compile(r"^failed to create shim task: "),
    re.compile(r"^failed to start shim: "),
    re.compile(r"^unable to retrieve OCI runtime error \(.*?\): "),
    re.compile(r"^OCI runtime (create|start|exec) failed: "),
    re.compile(r"^exec failed: "),
    re.compile(r"^(runc|crun) (create|start|exec) failed: "),
    re.compile(r"^(\S*/)?(runc|crun) did not terminate successfully: exit status \d+: "),
    re.compile(r"^unable to start container process: "),
    re.compile(r"^error during container init: "),
)
#: Both runtimes name the file that the kernel did not take the value for.
_SYSCTL = re.compile(r"^write (to )?/proc/sys/(?P<path>\S+): ")
_ENDING = re.compile(r"(: unknown|: internal)+$")
_REASON_MAX = 500


def start_failure(error: HostFailed, what: str, id: str) -> StartFailed:
    """The error for a container that could not be created or started.

    Args:
        error: containerd's answer.
        what: 'create container …', as the message goes on after 'cannot'.
    """
    why = reason(error.message)
    for pattern in _NO_COMMAND:
        if found := pattern.search(why):
            command = found["command"]
            return CommandNotFound(
                f"cannot {what}: command {command} is not in the image",
                field="command",
                object=id,
                details={"command": command},
            )
    return StartFailed(f"cannot {what}: {why}", field=_field(why), object=id)


def _field(why: str) -> str | None:
    if found := _SYSCTL.search(why):
        return f"security.sysctls[{found['path'].replace('/', '.')}]"
    return "command" if _NOT_EXECUTABLE.search(why) else None


def reason(message: str) -> str:
    """The runtime's own reason, without what was put around it on the way."""
    text = _ENDING.sub("", message)
    again = True
    while again:
        again = False
        for pattern in _WRAPPING:
            text, found = pattern.subn("", text)
            again = again or found > 0
    return text if len(text) <= _REASON_MAX else text[: _REASON_MAX - 1] + "…"

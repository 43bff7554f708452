"""Names that the kernel gives to capabilities, resource limits and signals.

Sources: capabilities(7), getrlimit(2), signal(7).
"""

from __future__ import annotations

from signal import Signals

CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
    "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()

#: What a container may do unless told otherwise; Docker's list, which images are written for.
DEFAULT_CAPABILITIES = (
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP "
    "SETGID SETPCAP SETUID SYS_CHROOT"
).split()

RLIMITS = (
    "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending "
    "stack"
).split()

SIGNALS = (
    "SIGHUP SIGINT SIGQUIT SIGABRT SIGKILL SIGUSR1 SIGUSR2 SIGALRM SIGTERM SIGCONT SIGWINCH SIGPWR "
    "SIGRTMIN SIGRTMIN[+][1-9] SIGRTMIN[+]1[0-5] SIGRTMAX"
).split()


def effective_capabilities(
    add: tuple[str, ...], drop: tuple[str, ...], *, privileged: bool = False
) -> tuple[str, ...]:
    """Names with CAP_, sorted. Drops apply first, so `drop ALL, add CHOWN` leaves CHOWN."""
    if privileged:
        return tuple(f"CAP_{name}" for name in sorted(CAPABILITIES))
    kept = set() if "ALL" in drop else set(DEFAULT_CAPABILITIES) - set(drop)
    kept |= set(CAPABILITIES) if "ALL" in add else set(add)
    if "ALL" in add:
        kept -= set(drop)
    return tuple(f"CAP_{name}" for name in sorted(kept))


def signal_number(name: str) -> int:
    """`SIGTERM` → 15, `SIGRTMIN+3` → 37; also what images write: `TERM`, `15`, `RTMAX-1`.

    Raises:
        ValueError: this node has no such signal.
    """
    text = name.strip().upper()
    if text.isascii() and text.isdigit():
        number = int(text[:4])
    else:
        number = _named(text.removeprefix("SIG"))
    if not 1 <= number <= Signals.SIGRTMAX:
        raise ValueError(f"{name[:40]!r} is no signal")
    return number


def _named(text: str) -> int:
    """0 if there is none; only the real-time signals are counted from one that has a name."""
    for first, last in (("RTMIN+", Signals.SIGRTMIN), ("RTMAX-", Signals.SIGRTMAX)):
        offset = text.removeprefix(first)
        if offset != text and offset.isascii() and offset.isdigit() and int(offset[:4]) <= 15:
            return last + int(offset) if first.endswith("+") else last - int(offset)
    return getattr(Signals, f"SIG{text}", 0) if text.isalnum() else 0

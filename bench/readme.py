"""The generated parts of README.md, each from the one place where its facts are declared.

python -m bench.readme            writes them
python -m bench.readme --check    exit code 1 if a part is not up to date
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import click
from oslo_config import cfg

from longshore import errors
from longshore.bus import wire
from longshore.cli import errors as cli_errors
from longshore.cli.run import run
from longshore.cli.spec_options import SPEC_FIELDS
from longshore.config import RELOADED, shown_default
from longshore.errors import LongshoreError
from longshore.model import state
from longshore.model.policy import PLACES, RULES
from longshore.options import OPTIONS

README = Path(__file__).parents[1] / "README.md"
_PART = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
#: A line of the tree in errors.py: branches, class, meaning.
_LEAF = re.compile(r"[ │├└─]*(\w+)(?:\s{2,}(\S.*))?")


def written(text: str) -> str:
    """The README's text with every generated part as it has to be.

    Raises:
        KeyError: it has a part that is not known here.
    """
    return _PART.sub(lambda part: f"{part[1]}{PARTS[part[2]]()}\n{part[3]}", text)


def options() -> str:
    rows = [
        ("`[DEFAULT] transport_url`", "", "The message queue: `rabbit://user:password@host:5672/`.")
    ]
    for group, declared in OPTIONS.items():
        for option in declared:
            choices = getattr(option.type, "choices", None)
            which = f" One of: {', '.join(choices)}." if choices else ""
            rows.append(
                (
                    f"`[{group}] {option.name}`",
                    _default(option),
                    f"{option.help}{which}{RELOADED if option.mutable else ''}",
                )
            )
    return _table(("option", "default", "meaning"), rows)


def error_codes() -> str:
    meanings = dict(_meanings())
    return _table(
        ("code", "class", "again?", "meaning"),
        [
            (f"`{code}`", cls.__name__, "yes" if cls.retry else "no", meanings[cls.__name__])
            for code, cls in errors.BY_CODE.items()
        ],
    )


def fields() -> str:
    """Options of `run` that go into the spec, and where to."""
    rows = [
        (f"`{field}`", " ".join(f"`{flag}`" for flag in one.opts), one.help or "")
        for one in run.params
        if isinstance(one, click.Option)
        for field in [SPEC_FIELDS.get(one.name or "")]
        if field is not None
    ]
    return _table(("field", "option", "meaning"), rows)


def rules() -> str:
    return _table(
        ("rule", "what it forbids unless the node's configuration allows it"),
        [
            *(
                (f"`{name}`", " ".join((rule.__doc__ or "").split()))
                for name, rule in RULES.items()
            ),
            *((f"`{name}`", what) for name, what in PLACES.items()),
        ],
    )


def verbs() -> str:
    """The table in wire's own docstring."""
    lines = (wire.__doc__ or "").splitlines()
    return "\n".join(["```", *(line[4:] for line in lines if line.startswith("    ")), "```"])


def states() -> str:
    """The table in model.state's own docstring."""
    lines = (state.__doc__ or "").splitlines()
    return "\n".join(["```", *(line[4:] for line in lines if line.startswith("    ")), "```"])


def exit_codes() -> str:
    lines = (cli_errors.__doc__ or "").splitlines()
    found = [line.split(maxsplit=1) for line in lines if re.match(r" +\d", line)]
    return _table(("exit code", "meaning"), [(code, meaning) for code, meaning in found])


def _default(option: cfg.Opt) -> str:
    shown = shown_default(option)
    return shown.strip("<>") if option.default is None else f"`{shown}`" if shown else ""


def _meanings() -> Iterator[tuple[str, str]]:
    """Class → what the tree says of it, or else its own words; and the kind that it is."""
    said = {}
    for line in (errors.__doc__ or "").splitlines():
        match = _LEAF.fullmatch(line) if line.startswith("    ") else None
        if match:
            said[match[1]] = match[2] or ""
    for cls in errors.BY_CODE.values():
        parent = cls.__mro__[1].__name__
        meaning = said[cls.__name__] if cls is not LongshoreError else "none of the others"
        kind = f" ({parent})" if parent not in ("Exception", "LongshoreError") else ""
        yield cls.__name__, (meaning or _words(cls.__name__)) + kind


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines
    )


PARTS: Mapping[str, Callable[[], str]] = {
    "options": options,
    "errors": error_codes,
    "fields": fields,
    "rules": rules,
    "verbs": verbs,
    "states": states,
    "exit-codes": exit_codes,
}


def main(arguments: Sequence[str]) -> int:
    there = README.read_text()
    new = written(there)
    if arguments == ["--check"]:
        if new != there:
            print("README.md is not up to date: make readme", file=sys.stderr)
        return int(new != there)
    README.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

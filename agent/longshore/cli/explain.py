"""`explain`: a container's story on one page."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from longshore.cli import agent, units
from longshore.cli.facts import version_text
from longshore.cli.output import (
    examples,
    output_option,
    print_facts,
    print_heading,
    print_json,
)
from longshore.cli.tables import status_text
from longshore.model.status import ContainerStatus, ErrorStatus, StepStatus, StoryStatus

Facts = list[tuple[str, str]]
#: Cells of the longest step's bar.
_BAR = 30


@click.command(
    short_help="What happened to a container, and what comes next.",
    epilog=examples("longshore explain web", "longshore explain -o json web | jq -r .next"),
)
@agent.ref_argument()
@output_option()
@click.pass_context
def explain(context: click.Context, ref: str, output: str) -> None:
    """How a container came to be as it is: who asked what, each change with its reason, each
    failure, how long each step of its last start took; and what happens next, and when.

    Of one that has just gone too.
    """
    story = agent.connect(context).explain(ref)
    if output == "json":
        print_json(story.to_dict())
        return
    now = time.time()
    print_facts(head(story.container, now))
    for title, facts in (
        ("What happened", timeline(story, now)),
        ("Last start", steps(story.container.steps)),
        ("What is wrong", failure(story.container.error)),
        ("What comes next", [(when(story.next_at, now), story.next)]),
    ):
        if facts:
            print_heading(title)
            print_facts(facts)


def head(one: ContainerStatus, now: float) -> Facts:
    """What it is, in a few lines."""
    gone = one.state == "absent"
    return [
        ("Container", f"{one.name} ({one.id})"),
        ("Image", one.image),
        ("Status", "Gone" if gone else status_text(one, now)),
        ("Version", version_text(one)),
        ("Reason", one.reason),
        ("Wanted", f"{one.desired} (generation {one.generation})"),
    ]


def timeline(story: StoryStatus, now: float) -> Facts:
    """Each with how long ago it was, and what went wrong below it."""
    rows: Facts = []
    for one in story.entries:
        took = f" (took {units.brief(one.seconds)})" if one.seconds is not None else ""
        rows.append((units.ago(one.at, now), f"{one.what}{took}"))
        if one.error is not None:
            # Its message may be what happened, and was said then.
            rows += [("", text) for _, text in failure(one.error) if text not in one.what]
    return rows


def steps(those: Sequence[StepStatus]) -> Facts:
    """Each with a bar as long as it took."""
    longest = max((one.seconds for one in those), default=0) or 1
    width = max((len(units.brief(one.seconds)) for one in those), default=0)
    return [
        (one.name, f"{units.brief(one.seconds):>{width}}  {_bar(one.seconds / longest)}".rstrip())
        for one in those
    ]


def failure(error: ErrorStatus | None) -> Facts:
    """In full: code, message, whether it may pass, and the hint."""
    if error is None:
        return []
    facts = [
        ("Error", error.message or error.code),
        ("Code", f"{error.code}{', may pass' if error.retry else ''}"),
        ("Field", error.field or ""),
        ("Hint", error.hint or ""),
    ]
    return [(name, value) for name, value in facts if value]


def when(at: float | None, now: float) -> str:
    """Empty when nothing is due."""
    if at is None:
        return "-"
    return f"in {units.span(at - now)}" if at > now else "now"


def _bar(share: float) -> str:
    return "#" * round(share * _BAR)

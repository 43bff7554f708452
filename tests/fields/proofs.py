"""Which test proves that a field is carried out, not only accepted.

    @proves("limits.memory", "limits.cpus", back="the files of its cgroup")
    def test_…

The test makes a real container with these fields set to something that is not their default, and
reads each back at the place named. That it asked for them itself is checked when it has run:
`Lab.spec` notes what each test asks for. That it reads them back, its reviewers see. All proofs are
found by reading the tests (`all_proofs`), so none has to be run for that. What only another kind
of node can do is proved inside one, by tests/vm; a file there says so itself:
`PROVES = {"limits.hugepages": "hugetlb.2MB.max"}`.
"""

from __future__ import annotations

import ast
import functools
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from fields.walk import given
from longshore.errors import InvalidSpec
from longshore.model.spec import parse

P = ParamSpec("P")
R = TypeVar("R")
TESTS = Path(__file__).parents[1]
#: Test → fields that it has asked for so far.
_asked: defaultdict[str, set[str]] = defaultdict(set)


@dataclass(frozen=True)
class Proof:
    """`test`: as pytest names it. `back`: where it reads the fields back."""

    test: str
    fields: tuple[str, ...]
    back: str


def proves(*fields: str, back: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Of a test that proves them; it fails if it, or a fixture made for it, never asked for one."""
    assert back

    def decorate(test: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(test)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            result = test(*args, **kwargs)
            never = sorted(set(fields) - _asked[_running()])
            assert not never, f"proves what it never asked for: {never}"
            return result

        return checked

    return decorate


def note(spec: Mapping[str, Any]) -> None:
    """A container is about to be asked for by the test that runs now."""
    try:
        _asked[_running()].update(given(parse(spec)))
    except InvalidSpec:
        return  # it is to be refused, and proves nothing


def all_proofs() -> Iterator[Proof]:
    """Of all tests here, in the order of their files."""
    for path in sorted(TESTS.rglob("*.py")):
        text = path.read_text()
        if not re.search(r"^(@proves\(|PROVES = )", text, re.M):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PROVES":
                name = str(path.relative_to(TESTS.parent))
                for one, back in ast.literal_eval(node.value).items():
                    yield Proof(name, (one,), back)
            if isinstance(node, ast.FunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "proves":
                        assert node.name.startswith("test_"), f"{path}: {node.name} is no test"
                        name = f"{path.relative_to(TESTS.parent)}::{node.name}"
                        yield _proof(name, mark)


def _proof(test: str, mark: ast.Call) -> Proof:
    names = [ast.literal_eval(one) for one in mark.args]
    words = {one.arg: ast.literal_eval(one.value) for one in mark.keywords}
    return Proof(test, tuple(names), words["back"])


def _running() -> str:
    """Without the phase, so that what is asked for while it is set up counts too."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]

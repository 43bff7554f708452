"""The agent, whose work on a container can be held: `held_agent.py HOLDS --config-file …`.

While the file HOLDS/ID is there, its next step or undo for the container of that id does not begin:
what was promised is journalled, and nothing else is done.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from longshore import daemon
from longshore.lifecycle.create import CREATE


def main() -> None:
    holds = Path(sys.argv.pop(1))

    def held(real: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            # A `do` has a context, an `undo` the host and then the names.
            names = arguments[1] if len(arguments) > 1 else arguments[0].names
            while (holds / names.id).exists():
                time.sleep(0.02)
            real(*arguments)

        return call

    for step in CREATE:
        # In place, so that every tuple that holds the step has this one.
        object.__setattr__(step, "do", held(step.do))
        object.__setattr__(step, "undo", held(step.undo))
    daemon.main()


if __name__ == "__main__":
    main()

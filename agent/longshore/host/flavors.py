"""The node's flavors: the TOML file that `[flavors] file` names.

    [flavor.general-small]
    description = "a small service"
    limits.cpus = 1
    limits.memory = "1g"
    limits.disk = "10g"

`limits` has the fields of a request's; a size is a number of bytes, or text like "512m".
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from longshore.errors import InvalidRequest
from longshore.model.faults import faults_of
from longshore.model.flavors import Flavors
from longshore.model.limits import BYTES, Flavor
from longshore.model.sizes import parse_size

_FILE_MAX = 1024 * 1024
_RATES = frozenset({"read_bps", "write_bps"})


def load(file: Path, default: str | None = None) -> Flavors:
    """What the file says; one that is not there says nothing.

    Args:
        default: the flavor of a request without one.

    Raises:
        InvalidRequest: 'cannot use the configuration: …' naming file, flavor and field.
    """
    tables = _tables(file)
    faults: list[str] = []
    flavors: dict[str, Flavor] = {}
    for name, table in tables.items():
        try:
            flavors[name] = _flavor(name, table)
        except ValidationError as error:
            faults += [f"flavor {name}: {_told(one)}" for one in faults_of(error, "")]
        except ValueError as error:
            faults.append(f"flavor {name}: {error}")
    if default is not None and default not in tables:
        faults.append(f"[flavors] default is {default}, and there is no [flavor.{default}]")
    if faults:
        raise _unusable(file, "; ".join(faults))
    return Flavors(flavors, default)


def _tables(file: Path) -> Mapping[str, Any]:
    try:
        # Never waits for who would write to a pipe of that name.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as opened:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _unusable(file, "is no file")
            text = opened.read(_FILE_MAX + 1).decode()
        whole = tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unusable(file, f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise _unusable(file, f"is not TOML: {str(error).partition(chr(10))[0]}") from error
    if len(text) > _FILE_MAX:
        raise _unusable(file, "is too large")
    for key in whole:
        if key != "flavor":
            raise _unusable(file, f"{key}: no such table: flavors are [flavor.NAME]")
    tables = whole.get("flavor", {})
    if not isinstance(tables, dict):
        raise _unusable(file, "flavor: flavors are [flavor.NAME]")
    return tables


def _flavor(name: str, table: Any) -> Flavor:
    if not isinstance(table, dict):
        raise ValueError("must be a table")  # noqa: TRY004 - a fault of the file as any other
    if "name" in table:
        raise ValueError("name: it has one in its [flavor.NAME]")
    limits = table.get("limits", {})
    if isinstance(limits, dict):
        limits = {key: _in_bytes(key, value) for key, value in limits.items()}
    # By way of JSON: strict mode takes a list for a tuple only from there.
    whole = {**table, "name": name, "limits": limits}
    return Flavor.model_validate_json(json.dumps(whole, default=str))


def _in_bytes(key: str, value: Any) -> Any:
    """Sizes that are text as numbers; whatever is none is left for the model to refuse."""
    if key in BYTES:
        return _size(f"limits.{key}", value)
    if key == "hugepages" and isinstance(value, dict):
        return {page: _size(f"limits.hugepages.{page}", one) for page, one in value.items()}
    if key == "io" and isinstance(value, list):
        return [_rates(f"limits.io[{i}]", one) for i, one in enumerate(value)]
    return value


def _rates(at: str, table: Any) -> Any:
    if not isinstance(table, dict):
        return table
    return {
        key: _size(f"{at}.{key}", value) if key in _RATES else value for key, value in table.items()
    }


def _size(at: str, value: Any) -> Any:
    try:
        return parse_size(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"{at}: {error}") from None


def _told(fault: Mapping[str, str]) -> str:
    return f"{fault['field']}: {fault['why']}" if fault["field"] else fault["why"]


def _unusable(file: Path, why: str) -> InvalidRequest:
    return InvalidRequest(f"cannot use the configuration: {file}: {why}", object=str(file))

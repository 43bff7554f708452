"""A setting of the node's that may be another one in a moment."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Current(Generic[T]):
    """Called, it is the value of now; whoever needs it to stay the same keeps what it was.

    Values are frozen, and replaced as a whole: nobody sees half of the old and half of the new.
    """

    def __init__(self, value: T) -> None:
        self._value = value

    def __call__(self) -> T:
        return self._value

    def replace(self, value: T) -> None:
        self._value = value

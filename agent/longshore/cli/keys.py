"""The keys that end an attachment, as docker writes them: `ctrl-p,ctrl-q`. Pure."""

from __future__ import annotations

from collections.abc import Sequence

DEFAULT = "ctrl-p,ctrl-q"
_SYMBOLS = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse(text: str) -> bytes:
    """`ctrl-p,x` → the bytes that a terminal sends; empty for none.

    Raises:
        ValueError: it names no keys.
    """
    return bytes(_key(one) for one in text.split(",")) if text else b""


def _key(text: str) -> int:
    if len(text) == 1 and text.isascii():
        return ord(text)
    letter = text.removeprefix("ctrl-").lower()
    if text.startswith("ctrl-") and len(letter) == 1:
        if letter in _SYMBOLS:
            return _SYMBOLS[letter]
        if letter.isascii() and letter.isalpha():
            return ord(letter) - ord("a") + 1
    raise ValueError(f"{text!r} is no key: use ctrl-a to ctrl-z, ctrl-@ [ ] \\ ^ _, or a character")


class Watched:
    """Input in which somebody may type the keys.

    What may be their beginning is held back until it is known not to be.
    """

    def __init__(self, keys: Sequence[int]) -> None:
        self._keys = bytes(keys)
        self._held = b""
        self.detached = False

    def pass_on(self, data: bytes) -> bytes:
        """What of it is input; once the keys came, `detached`, and what follows is dropped."""
        if not self._keys:
            return data
        passed = bytearray()
        for one in data:
            self._held += bytes([one])
            if self._held == self._keys:
                self.detached = True
                return bytes(passed)
            while self._held and not self._keys.startswith(self._held):
                passed.append(self._held[0])
                self._held = self._held[1:]
        return bytes(passed)

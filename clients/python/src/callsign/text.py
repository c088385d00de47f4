"""Texts for people: foreign ones made harmless, durations, causes."""

import ssl
import unicodedata
from collections.abc import Callable

from .alerts import words

#: Categories whose characters a screen obeys, hides, or cannot draw.
_WITHOUT_SHAPE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"})

#: Invisible characters that the category does not tell: those of `Default_Ignorable_Code_Point`
#: that are neither format characters nor unassigned, and three blank or replacement symbols.
_BLANK = (
    (0x34F, 0x34F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xFFFC, 0xFFFC),
    (0x1D159, 0x1D159),
    (0xE0100, 0xE01EF),
)

#: Longer than any endpoint that is not a path of unusual length.
_QUOTED_MAX = 160


def is_plain(character: str) -> bool:
    """Tells whether a screen shows a character unchanged."""
    code = ord(character)
    if code < 0x80:
        return 0x20 <= code < 0x7F
    if unicodedata.category(character) in _WITHOUT_SHAPE:
        return False
    return not any(first <= code <= last for first, last in _BLANK)


def is_mark(character: str) -> bool:
    """Tells whether a character is drawn onto the one before it."""
    return unicodedata.category(character) in ("Mn", "Mc", "Me")


def plain(text: str, keep: Callable[[str], bool] = is_plain) -> str:
    """Escapes what does not belong on a line of a screen: a peer's text is untrusted."""
    return "".join(it if keep(it) else _escaped(it) for it in text)


def quoted(text: str) -> str:
    """Quotes a foreign text for one line of a message; a long one is cut."""
    return f"`{plain(text[:_QUOTED_MAX])}{'…' if len(text) > _QUOTED_MAX else ''}`"


def kind_of(value: object) -> str:
    """Describes a value that is of a wrong type: `b'feed'`, which is `bytes`."""
    return f"{quoted(repr(value))}, which is of type `{type(value).__name__}`"


def duration(seconds: float) -> str:
    """Writes a time limit: `2s`, `1.5s`, `200ms`."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    return f"{seconds:g}s"


def brief(seconds: float) -> str:
    """Writes a measured time to three digits or less: `1.2 s`, `30 ms`, `2.0 ms`, `90 µs`."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    if seconds >= 0.01:
        return f"{seconds * 1e3:.0f} ms"
    if seconds >= 0.001:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds * 1e6:.0f} µs"


def system(error: OSError) -> str:
    """Describes an error of the system in a few words."""
    if isinstance(error, ssl.SSLError):
        return words(error)
    return error.strerror or str(error) or type(error).__name__


def _escaped(character: str) -> str:
    return {"\t": "\\t", "\r": "\\r", "\n": "\\n"}.get(character, f"\\u{{{ord(character):x}}}")

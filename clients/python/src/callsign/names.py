"""Names of actors, and patterns of names."""

import unicodedata
from functools import lru_cache

from .errors import InvalidName
from .text import is_mark, is_plain, kind_of, quoted

#: What fits one byte of length, and a file name.
NAME_BYTES_MAX = 255

#: What a name is, in brief.
_RULE = (
    "a name is 1 to 255 bytes without white space, `/`, `*`, `?`, control or invisible characters"
)

#: What a name cannot have, and a pattern may have in part.
_NO_NAME = "/ *?"


def check_name(text: str) -> str:
    """Returns a name, if it is one."""
    return text if isinstance(text, str) and is_name(text) else _check(text, _NO_NAME)


def check_pattern(text: str) -> str:
    """Returns a name or a pattern: `*` matches any run of characters, `?` any one."""
    return _check(text, "/ ")


@lru_cache(maxsize=1024)
def is_name(text: str) -> bool:
    """Tells whether a text is a name. The same ones stand in answer after answer."""
    try:
        _check(text, _NO_NAME)
    except InvalidName:
        return False
    return True


def _check(text: str, forbidden: str) -> str:
    if not isinstance(text, str):
        raise _wrong(f"a name is a text, not {kind_of(text)}")
    if not text:
        raise _wrong("a name cannot be empty")
    length = len(text.encode("utf-8", "surrogatepass"))
    if length > NAME_BYTES_MAX:
        raise _wrong(f"a name has at most {NAME_BYTES_MAX} bytes, and this one has {length}")
    for position, character in enumerate(text, 1):
        if character in forbidden or not is_plain(character):
            raise _wrong(
                f"a name cannot have {_shown(character)} in it, as {quoted(text)} has at "
                f"character {position}"
            )
    if text in (".", ".."):
        raise _wrong(f"{quoted(text)} means a folder, and cannot be a name")
    if text[0] == "-" or is_mark(text[0]):
        rule = "a name begins with a letter, a digit or another character that is drawn by itself"
        why = (
            "it would be taken for a flag"
            if text[0] == "-"
            else "that is drawn onto the character before it"
        )
        what = f"a name cannot begin with {_shown(text[0])}, as {quoted(text)} does: {why}"
        raise _wrong(what, rule)
    composed = unicodedata.normalize("NFC", text)
    if composed != text:
        pairs = enumerate(zip(text, composed, strict=False), 1)
        position = next((at for at, (one, other) in pairs if one != other), len(composed) + 1)
        raise _wrong(
            f"a name is written in Unicode's composed form (NFC), as {quoted(text)} is not from "
            f"character {position} on",
            "write it in the composed form: `uconv -x any-nfc` and most editors do",
        )
    return text


def _wrong(fault: str, rule: str = _RULE) -> InvalidName:
    error = InvalidName(fault)
    error.add_note(f"hint: {rule}")
    return error


def _shown(character: str) -> str:
    if character == " ":
        return "a space"
    if is_plain(character) and not is_mark(character):
        return f"`{character}`"
    return f"U+{ord(character):04X}"

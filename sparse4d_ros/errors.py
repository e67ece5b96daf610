"""The one error a person is meant to read: a sentence that names what is wrong and what to do."""

from reprlib import Repr

_LONGEST = 200
_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxtuple, _SHORT.maxdict = 3, 12, 12, 6
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100


class UserError(Exception):
    """Bad input from outside (file, parameter, topic, camera). The command line prints only the text."""


def shown(value: object) -> str:
    """A value from outside for a sentence: short, however long, deep or entangled the value is."""
    try:
        text = _SHORT.repr(value)
    except ValueError:
        return "a number too long to write"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."

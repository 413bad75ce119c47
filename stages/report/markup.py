"""HTML and SVG, built so that no text can become markup."""

from html import escape

EMPTY = ("img", "meta")
"""Elements that have no end."""


class Markup(str):
    """What is markup already, and is not escaped again."""

    __slots__ = ()


def tag(name: str, /, *content: str, **attributes: object) -> Markup:
    """Return an element around `content`, of which all that is not markup is escaped.

    Args:
        name: the element's.
        content: texts and elements.
        attributes: by name, where `_` stands for a hyphen, and is left out at the end; None for those that are not set.
    """
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    start = "".join([name, *(f' {key}="{escape(str(value))}"' for key, value in given.items())])
    return Markup(f"<{start}>" if name in EMPTY else f"<{start}>{joined(*content)}</{name}>")


def joined(*content: str) -> Markup:
    """Return texts and elements one after the other, as `tag` has them inside."""
    return Markup("".join(one if isinstance(one, Markup) else escape(one) for one in content))

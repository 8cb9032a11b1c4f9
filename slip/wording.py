"""How the parts of things are said: many ways that mean the same, and the plain one of them."""

from __future__ import annotations

import re

_ARTICLE = re.compile(r"(?:^|(?<= ))(?:the|a|an)(?: |$)")
"""As a word of its own: an A-pillar keeps its letter."""
_OWNER = re.compile(r"(?<=\w)(?:'s|’s|(?<=s)['’])(?= )")
_OF = " of "


def plain(text: str) -> str:
    """The plain form of an expression: lower case, no articles, what owns before what is owned.

    >>> plain("the bird's wing"), plain("Wing of a Bird"), plain("bird wing")
    ('bird wing', 'bird wing', 'bird wing')
    >>> plain("the tip of the wing of the bird")
    'bird wing tip'
    """
    words = " ".join(text.lower().split())
    owned = _ARTICLE.sub("", _OWNER.sub("", words))
    told = " ".join(" ".join(reversed(owned.split(_OF))).split())
    return told or words

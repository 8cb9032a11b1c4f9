"""Whether a judge's label and a prompt name the same class."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable

KEPT = "LNMS"
"""Unicode categories that tell names apart: letters, numbers, marks, symbols (as in "Nidoran♀")."""


def fold(label: str) -> str:
    """The label without case, punctuation and spaces: "Mr. Mime" and "mr_mime" are one class."""
    plain = unicodedata.normalize("NFKC", label).casefold()
    kept = "".join(letter for letter in plain if unicodedata.category(letter)[0] in KEPT)
    return unicodedata.normalize("NFKC", kept or plain)


def verdict(label: str, judged: str | None, known: Collection[str], *, exactly: bool = False) -> bool | None:
    """Whether a judge that knows the folded classes ``known`` found the class that was asked for.

    judged: its label, None where no segment was chosen; that is wrong.
    exactly: labels must be the same letter for letter, as the paper compares them.
    None where the judge does not know the class, and so cannot be right; ``exactly``: False.
    """
    if exactly:
        return judged == label
    if fold(label) not in known:
        return None
    return judged is not None and fold(judged) == fold(label)


def uncovered(labels: Iterable[str], classes: Iterable[str], *, exactly: bool = False) -> dict[str, int]:
    """The labels no class of a judge is the same as, and how often each comes."""
    known = set(classes) if exactly else {fold(name) for name in classes}
    counts = Counter(label for label in labels if (label if exactly else fold(label)) not in known)
    return dict(sorted(counts.items()))

"""What results are called: after their picture and, in a batch, after their prompt."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

_Named = TypeVar("_Named", bound=Hashable)

SLUG_BYTES = 60
STEM_BYTES = 150
"""Together with what says what kind of result it is, a name stays below the 255 bytes of file systems."""


@dataclass(frozen=True)
class Names:
    """Results are called FOLDER/STEM.KIND; the mask may have a name of its own.

    mask: None where the mask goes to standard output.
    """

    folder: Path
    stem: str
    mask: Path | None

    @classmethod
    def after(cls, path: Path) -> Names:
        """FOLDER/STEM is ``path``, and the mask STEM.mask.png."""
        return cls(path.parent, path.name, path.parent / f"{path.name}.mask.png")

    def beside(self, kind: str) -> Path:
        """The result of a kind, as in ``overlay.png``."""
        return self.folder / f"{self.stem}.{kind}"

    def masks(self, count: int) -> list[Path]:
        """``scene.mask.png``, ``scene.mask.2.png`` and so on; none where the mask goes to stdout."""
        if self.mask is None:
            return []
        later = (self.mask.with_suffix(f".{rank}{self.mask.suffix}") for rank in range(2, count + 1))
        return [self.mask, *later]

    def masks_there(self) -> int:
        """How many masks are there already, counted up to the first that is not."""
        count = 0
        while len(masks := self.masks(count + 1)) > count and masks[-1].exists():
            count += 1
        return count


def slugs(prompts: Iterable[str]) -> dict[str, str]:
    """What each prompt is called in names: its letters and digits of any script, ``-`` between words.

    No two share one, also where a file system tells ``A`` from ``a`` by nothing, and none holds a dot
    or a slash: where needed, they end in digits of the prompt's SHA-256.
    """
    return _apart({prompt: _slug(prompt) for prompt in prompts})


def stems(pictures: Iterable[PurePath]) -> dict[PurePath, str]:
    """What the results of each picture are called, with slashes: its name without the suffix.

    pictures: relative paths. Those that would share a name keep their suffixes (``a.jpg``, ``a.png``),
    and where this does not help, end in digits of the SHA-256.
    """
    return _apart({picture: _stem(picture) for picture in pictures})


def digest(text: str) -> str:
    """Some digits of the SHA-256 of a text; of a path also where it is no Unicode."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _slug(prompt: str) -> tuple[str, ...]:
    """What to call a prompt, the plainest first."""
    text = unicodedata.normalize("NFC", prompt).lower()
    letters = (letter if unicodedata.category(letter)[0] in "LMN" else " " for letter in text)
    words = "-".join("".join(letters).split())
    slug = _cut(words, SLUG_BYTES)
    sure = f"{slug or 'prompt'}-{digest(prompt)}"
    return (slug, sure) if slug and slug == words else (sure,)


def _stem(picture: PurePath) -> tuple[str, ...]:
    """What to call a picture, the plainest first."""
    folder = "" if picture.parent == PurePath() else f"{picture.parent.as_posix()}/"
    sure = f"{_cut(picture.name, STEM_BYTES)}-{digest(picture.as_posix())}"
    plain = (name for name in (picture.stem, picture.name) if name == _cut(name, STEM_BYTES))
    return tuple(folder + name for name in (*plain, sure))


def _cut(text: str, size: int) -> str:
    """The first ``size`` bytes of a name, or fewer: no letter is cut in two."""
    text = text[:size]
    while len(text.encode("utf-8", "surrogatepass")) > size:
        text = text[:-1]
    return text


def _apart(choices: Mapping[_Named, Sequence[str]]) -> dict[_Named, str]:
    """The first name that each thing has for itself. choices: its names; the last is its own for sure."""
    rank = dict.fromkeys(choices, 0)
    while True:
        names = {thing: choices[thing][rank[thing]] for thing in choices}
        taken = Counter(map(_as_seen, names.values()))
        shared = [
            thing
            for thing, name in names.items()
            if taken[_as_seen(name)] > 1 and rank[thing] + 1 < len(choices[thing])
        ]
        if not shared:
            return names
        for thing in shared:
            rank[thing] += 1


def _as_seen(name: str) -> str:
    """What is equal for names that a file system may not tell apart."""
    return unicodedata.normalize("NFC", name).casefold()

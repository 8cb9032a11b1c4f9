"""The masks that the built-in models chose when they were made: python tests/golden_masks.py.

Written again only on purpose, with new weights, after a look at each.
"""

from __future__ import annotations

from pathlib import Path

from slip import Slip
from slip.drawing import mask_picture
from slip.images import encode_png
from slip.outputs import write_file

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = Path(__file__).parents[1] / "examples"
PROMPTS = {
    "meadow": ("a white striped quadruped", "a green patched biped"),
    "hills": ("a black striped quadruped", "a yellow striped biped"),
    "dusk": ("a red striped quadruped", "a purple striped blob"),
    "field": ("a brown spotted biped", "a yellow striped bird"),
}
CASES = [(picture, prompt) for picture, prompts in PROMPTS.items() for prompt in prompts]


def golden_path(picture: str, prompt: str) -> Path:
    """Where the mask of a case is kept."""
    return GOLDEN / f"{picture}.{prompt.replace(' ', '-')}.png"


def main() -> None:
    """Write every mask."""
    slip = Slip.load("tiny")
    for picture, prompt in CASES:
        best = slip.segment(EXAMPLES / f"{picture}.png", prompt).best
        write_file(golden_path(picture, prompt), encode_png(mask_picture(best)), overwrite=True)


if __name__ == "__main__":
    main()

"""One search, many prompts: python examples/many_prompts.py [PICTURE] [PROMPT ...]."""

import sys
from pathlib import Path

from slip import Slip

PICTURE = str(Path(__file__).parent / "meadow.png")
PROMPTS = ["a white striped quadruped", "a green biped", "a red squid with a blue belly"]


def main(picture: str, prompts: list[str]) -> None:
    """Print the box and the score of the best segment for each prompt."""
    slip = Slip.load("tiny")
    proposals = slip.propose(picture)
    print(f"{proposals.found} segments, {len(proposals.segments)} kept")
    for prompt in prompts:
        best = slip.rank(proposals, prompt).best
        print(f"{prompt}: box {best.box}, area {best.area}, score {best.score:.2f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else PICTURE, sys.argv[2:] or PROMPTS)

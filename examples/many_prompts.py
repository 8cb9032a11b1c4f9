"""One search, many prompts: python examples/many_prompts.py [PICTURE] [PROMPT ...]."""

import sys
from pathlib import Path

from slip import Slip

PICTURE = str(Path(__file__).parent / "meadow.png")
PROMPTS = ["a white striped quadruped", "a green biped", "a red squid with a blue belly"]


def main(picture: str, prompts: list[str]) -> None:
    """Print the box and the score of the best match for each prompt, if there is one."""
    slip = Slip.load("tiny")
    proposals = slip.propose(picture)
    print(f"{proposals.found} segments, {len(proposals.segments)} kept")
    for prompt in prompts:
        found = slip.rank(proposals, prompt)
        if found.found:
            print(f"{prompt}: box {found.best.box}, area {found.best.area}, score {found.best.score:.2f}")
        else:
            print(f"{prompt}: no match, the best candidate scores {max(found.scores, default=0):.2f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else PICTURE, sys.argv[2:] or PROMPTS)

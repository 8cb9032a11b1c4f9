"""Draw the example pictures of this folder again: python examples/make_pictures.py [FOLDER]."""

import sys
from pathlib import Path

from slip.data.critters import Scene, make_scene
from slip.images import encode_png
from slip.outputs import write_file

SCENES = {"meadow": 1055, "hills": 1136, "dusk": 1182, "field": 1276}


def draw(name: str) -> Scene:
    """The scene of that name: 512 px, five critters and three things."""
    return make_scene(SCENES[name], size=512, critters=5, distractors=3)


def main(folder: Path) -> None:
    """Write every scene as a PNG."""
    for name in SCENES:
        scene = draw(name)
        write_file(folder / f"{name}.png", encode_png(scene.image), overwrite=True)
        print(name, *(critter.caption for critter in scene.critters), sep="\n    ")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)

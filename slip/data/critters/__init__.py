"""Critters: procedural pictures of creatures with named species, colours, patterns and parts.

Everything is drawn from a seed, so a set of any size costs no disk and no licence, and the
truth (masks of objects and parts, captions) is exact.
"""

from slip.data.critters.bodies import PARTS
from slip.data.critters.captions import caption
from slip.data.critters.draw import Sprite, Style, draw_critter
from slip.data.critters.scenes import SPECIES, Scene, SceneObject, make_portrait, make_scene
from slip.data.critters.species import COLOURS, PATTERNS, PLANS, Species, random_species

__all__ = [
    "COLOURS",
    "PARTS",
    "PATTERNS",
    "PLANS",
    "SPECIES",
    "Scene",
    "SceneObject",
    "Species",
    "Sprite",
    "Style",
    "caption",
    "draw_critter",
    "make_portrait",
    "make_scene",
    "random_species",
]

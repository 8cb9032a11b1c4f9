"""Critters: procedural pictures of creatures with named species, colours, patterns and parts.

Everything is drawn from a seed, so a set of any size costs no disk and no licence, and the
truth (masks of objects and parts, captions) is exact.

>>> from slip.data.critters import make_scene
>>> scene = make_scene(seed=7)
>>> scene.image.shape
(256, 256, 3)
>>> critter = scene.critters[0]
>>> critter.caption
'a green patched biped'
>>> scene.mask(critter).dtype
dtype('bool')
>>> sorted(scene.part_masks(critter))
['arm', 'body', 'ear', 'eye', 'head', 'leg', 'tail']

``make_portrait`` draws one species large, ``slip.data.critters.layouts`` whole sets as files.
"""

from slip.data.critters.bodies import PARTS
from slip.data.critters.captions import caption
from slip.data.critters.draw import Sprite, draw_critter
from slip.data.critters.scenes import SPECIES, Scene, SceneObject, make_portrait, make_scene
from slip.data.critters.species import COLOURS, PATTERNS, PLANS, Species, random_species
from slip.options import Style

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

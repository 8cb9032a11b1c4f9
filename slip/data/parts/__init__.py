"""Pictures with the masks of their parts: ``critters-parts``, PartImageNet, and any set in COCO's form.

>>> from slip.data.parts import CritterParts, triples
>>> data = CritterParts(count=1)
>>> first = triples(data.pictures("test"))[0]
>>> first.expression
'bird beak'
>>> image, masks = data.load(first.picture)
>>> masks[first.part].shape == image.shape[:2]
True
"""

from slip.data.parts.critters import CritterParts
from slip.data.parts.crops import PartCrops
from slip.data.parts.expressions import Triple, told_apart, triples, wordings
from slip.data.parts.files import CocoParts
from slip.data.parts.records import SIDES, Fault, Part, PartPicture, PartSet, Side
from slip.data.parts.sets import is_parts, open_parts

__all__ = [
    "SIDES",
    "CocoParts",
    "CritterParts",
    "Fault",
    "Part",
    "PartCrops",
    "PartPicture",
    "PartSet",
    "Side",
    "Triple",
    "is_parts",
    "open_parts",
    "told_apart",
    "triples",
    "wordings",
]

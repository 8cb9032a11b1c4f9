"""The truth about scenes in COCO's form, with parts linked to their objects as in PACO.

Fields beyond COCO's: an annotation's ``obj_ann_id`` is its own id, or for a part the id of the
object it belongs to (PACO, arXiv 2301.01795); ``label`` is its value in the index picture, of
objects or of parts; ``name`` is the species, the kind of thing or the part; ``caption`` says it by
its looks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from slip.data.critters.bodies import PARTS, parts_of
from slip.data.critters.captions import TRAITS, caption, part_caption
from slip.data.critters.scenes import SPECIES, Scene, SceneObject
from slip.data.critters.species import PLANS, Species
from slip.data.critters.things import THINGS
from slip.masks import encode_rle, segment_of
from slip.types import Mask

Record = dict[str, Any]

_IDS = 10_000
"""Annotations of image ``i`` have ids from ``i * _IDS + 1``, whatever other images hold."""


def categories() -> list[Record]:
    """The species (supercategory ``critter``), the kinds of thing (``thing``) and ``bird wing`` and the
    like (``part``); ids count from 1."""
    records = [
        *(_species_category(species) for species in SPECIES),
        *({"name": kind, "supercategory": "thing"} for kind in THINGS),
        *(
            {"name": f"{plan} {part}", "supercategory": "part", "plan": plan, "part": part}
            for plan in PLANS
            for part in parts_of(plan)
        ),
    ]
    return [{"id": number, **record} for number, record in enumerate(records, 1)]


def _species_category(species: Species) -> Record:
    looks = {field: getattr(species, field) for field in ("plan", "colour", "accent", "pattern")}
    captions = [caption(species, wording) for wording in range(len(TRAITS[species.pattern]))]
    return {"name": species.name, "supercategory": "critter", **looks, "captions": captions}


_CATEGORY_IDS = {category["name"]: category["id"] for category in categories()}


def image_record(scene: Scene, image_id: int, file_name: str) -> Record:
    """The entry of a scene among the images."""
    height, width = scene.objects.shape
    return {"id": image_id, "file_name": file_name, "width": width, "height": height}


def annotation_records(scene: Scene, image_id: int) -> Iterator[Record]:
    """Every object of a scene, each critter followed by its parts; only what is seen of them.

    Captions go through the phrasings, and say "small" or "large" where it holds.
    """
    number = image_id * _IDS
    for thing in scene.things:
        number += 1
        owner = number
        words = _caption(thing, image_id + thing.number)
        fields = {"obj_ann_id": owner, "label": thing.number, "name": thing.name, "caption": words}
        yield _record(scene.mask(thing), number, image_id, thing.name, fields)
        if thing.species is None:
            continue
        for part, mask in scene.part_masks(thing).items():
            number += 1
            words = part_caption(part, thing.species)
            fields = {"obj_ann_id": owner, "label": 1 + PARTS.index(part), "name": part, "caption": words}
            yield _record(mask, number, image_id, f"{thing.species.plan} {part}", fields)


def _caption(thing: SceneObject, wording: int) -> str:
    return thing.caption if thing.species is None else caption(thing.species, wording, thing.size)


def _record(mask: Mask, number: int, image_id: int, category: str, fields: Record) -> Record:
    segment = segment_of(mask)
    if segment is None:
        raise ValueError("an object of a scene is never hidden altogether")
    box = segment.box
    return {
        "id": number,
        "image_id": image_id,
        "category_id": _CATEGORY_IDS[category],
        "bbox": [box.x1, box.y1, box.width, box.height],
        "area": segment.area,
        "iscrowd": 0,
        "segmentation": encode_rle(mask),
        **fields,
    }


def document(images: Iterable[str], annotations: Iterable[str]) -> bytes:
    """The whole file, a record a line, from records in JSON."""
    sections = {"images": images, "annotations": annotations, "categories": map(json.dumps, categories())}
    lists = (f'"{name}": [\n' + ",\n".join(records) + "\n]" for name, records in sections.items())
    return ("{\n" + ",\n".join(lists) + "\n}\n").encode()

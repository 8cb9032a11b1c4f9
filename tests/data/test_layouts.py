from __future__ import annotations

import json
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from pycocotools.coco import COCO

from slip.data.critters import PARTS, SPECIES, layouts, make_portrait, make_scene
from slip.data.critters.captions import caption
from slip.data.critters.layouts import count_files, draw_files, parameters
from slip.errors import UsageError
from slip.masks import decode_rle
from slip.options import CritterOptions

SCENES = CritterOptions("scenes", count=3, size=64, seed=4, critters=3, distractors=2)
FOLDERS = CritterOptions("folders", count=2, size=32, seed=4, style="artwork")


def pixels(data: bytes) -> Any:
    return np.asarray(PIL.Image.open(BytesIO(data)))


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {file.path: file.content() for file in draw_files(SCENES)}


@pytest.fixture(scope="module")
def document(files: dict[str, bytes]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(files["annotations.json"])
    return told


class TestScenes:
    def test_names(self, files: dict[str, bytes]) -> None:
        pictures = {
            f"{kind}/00000{index}.png" for kind in ("images", "objects", "parts") for index in range(3)
        }
        assert set(files) == pictures | {"annotations.json"}
        assert len(files) == count_files(SCENES)

    def test_pictures_are_those_of_make_scene(self, files: dict[str, bytes]) -> None:
        for index in range(3):
            scene = make_scene((4, index), 64, 3, 2)
            for kind, layer in (("images", scene.image), ("objects", scene.objects), ("parts", scene.parts)):
                assert np.array_equal(pixels(files[f"{kind}/00000{index}.png"]), layer)

    def test_the_order_of_drawing_does_not_matter(self, files: dict[str, bytes]) -> None:
        assert {file.path: file.content() for file in reversed(list(draw_files(SCENES)))} == files

    def test_in_order_each_scene_is_drawn_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn: Counter[object] = Counter()

        def counted(seed: object, *rest: Any) -> object:
            drawn[seed] += 1
            return make_scene(seed, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(layouts, "make_scene", counted)
        for file in draw_files(SCENES):
            file.content()
        assert drawn == {(4, 0): 1, (4, 1): 1, (4, 2): 1}

    def test_a_later_scene_is_the_same_in_a_smaller_set(self, files: dict[str, bytes]) -> None:
        other = CritterOptions("scenes", count=1, size=64, seed=4, critters=3, distractors=2)
        assert next(draw_files(other)).content() == files["images/000000.png"]

    def test_pycocotools_reads_the_annotations(self, files: dict[str, bytes], tmp_path: Path) -> None:
        (tmp_path / "annotations.json").write_bytes(files["annotations.json"])
        coco = COCO(tmp_path / "annotations.json")
        kinds = coco.getCatIds(supNms=["critter"]) + coco.getCatIds(supNms=["thing"])
        assert len(coco.getCatIds(supNms=["critter"])) == 151
        for index in coco.getImgIds():
            entry = coco.loadImgs(index)[0]
            objects = pixels(files[f"objects/{entry['file_name']}"])
            assert objects.shape == (entry["height"], entry["width"])
            found = coco.loadAnns(coco.getAnnIds(imgIds=index, catIds=kinds))
            assert [annotation["label"] for annotation in found] == list(range(1, objects.max() + 1))
            for annotation in found:
                assert np.array_equal(coco.annToMask(annotation), objects == annotation["label"])

    def test_parts_lie_in_their_object(self, files: dict[str, bytes], document: dict[str, Any]) -> None:
        annotations = {annotation["id"]: annotation for annotation in document["annotations"]}
        categories = {category["id"]: category for category in document["categories"]}
        seen = 0
        for annotation in annotations.values():
            owner, category = annotations[annotation["obj_ann_id"]], categories[annotation["category_id"]]
            assert (owner is annotation) == (category["supercategory"] != "part")
            if owner is annotation:
                continue
            seen += 1
            mask = decode_rle(annotation["segmentation"])
            parts = pixels(files[f"parts/{annotation['image_id']:06}.png"])
            inside = decode_rle(owner["segmentation"])
            assert np.array_equal(mask, inside & (parts == annotation["label"]))
            assert annotation["name"] == category["part"] == PARTS[annotation["label"] - 1]
            kin = categories[owner["category_id"]]
            assert category["name"] == f"{kin['plan']} {annotation['name']}"
            assert annotation["caption"].startswith(f"the {annotation['name']} of a")
            assert annotation["caption"].endswith(f"{kin['colour']} {kin['plan']}")
        assert seen > 20

    def test_boxes_and_areas(self, document: dict[str, Any]) -> None:
        for annotation in document["annotations"]:
            mask = decode_rle(annotation["segmentation"])
            ys, xs = np.nonzero(mask)
            x, y, width, height = annotation["bbox"]
            assert (x, y) == (xs.min(), ys.min())
            assert (x + width - 1, y + height - 1) == (xs.max(), ys.max())
            assert annotation["area"] == mask.sum() and annotation["iscrowd"] == 0

    def test_captions_by_attribute_and_by_name(self, document: dict[str, Any]) -> None:
        species = {kin.name: kin for kin in SPECIES}
        categories = {category["id"]: category for category in document["categories"]}
        critters = [entry for entry in document["annotations"] if entry["name"] in species]
        assert critters
        for entry in critters:
            kin = species[entry["name"]]
            sizes = ("", "small", "large")
            assert entry["caption"] in {caption(kin, wording, size) for wording in range(3) for size in sizes}
            category = categories[entry["category_id"]]
            assert category["name"] == kin.name and category["colour"] == kin.colour
            assert category["captions"] == [caption(kin, wording) for wording in range(3)]
        sized = {(entry["image_id"], entry["label"]): entry["caption"].split()[1] for entry in critters}
        for index in range(3):
            for critter in make_scene((4, index), 64, 3, 2).critters:
                word = sized[index, critter.number]
                assert word == critter.size if critter.size else word not in ("small", "large")

    def test_ids(self, document: dict[str, Any]) -> None:
        for section in ("images", "annotations", "categories"):
            ids = [record["id"] for record in document[section]]
            assert len(set(ids)) == len(ids)
        assert min(record["id"] for record in document["annotations"]) > 0
        names = [category["name"] for category in document["categories"]]
        assert len(set(names)) == len(names)

    def test_without_any_object(self) -> None:
        empty = CritterOptions("scenes", count=2, size=32, critters=0, distractors=0)
        *_, last = draw_files(empty)
        told = json.loads(last.content())
        assert (len(told["images"]), told["annotations"]) == (2, [])


class TestFolders:
    def test_a_folder_a_species(self) -> None:
        paths = [Path(file.path) for file in draw_files(FOLDERS)]
        assert len(set(paths)) == count_files(FOLDERS) == 302
        assert {path.parent.name for path in paths} == {species.name for species in SPECIES}
        first = SPECIES[0].name
        assert [str(path) for path in paths[:2]] == [f"{first}/{first}_0000.png", f"{first}/{first}_0001.png"]

    def test_portraits(self) -> None:
        drawn = {file.path: file for file in draw_files(FOLDERS)}
        for number, index in ((0, 0), (15, 1), (150, 0)):
            name = SPECIES[number].name
            portrait = make_portrait(SPECIES[number], (4, number, index), 32, "artwork")
            assert np.array_equal(pixels(drawn[f"{name}/{name}_{index:04}.png"].content()), portrait.image)


class TestOptions:
    def test_parameters_say_what_decides(self) -> None:
        assert parameters(CritterOptions())["count"] == 100
        assert parameters(CritterOptions())["critters"] == 4
        assert parameters(CritterOptions("folders")) == {
            "layout": "folders",
            "count": 20,
            "size": 256,
            "seed": 0,
            "style": "picture",
        }

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (CritterOptions("pile"), "layout is 'pile'; give scenes or folders"),  # type: ignore[arg-type]
            (CritterOptions(count=0), "count is 0; give 1 to 100000"),
            (CritterOptions(count=100_001), "count is 100001"),
            (CritterOptions("folders", count=10_001), "give 1 to 10000"),
            (CritterOptions(size=8), "size is 8"),
            (CritterOptions("folders", size=8), "size is 8"),
            (CritterOptions(critters=300), "critters is 300"),
            (CritterOptions("folders", critters=2), "leave out --critters"),
            (CritterOptions(seed=-1), "seed -1"),
            (CritterOptions(style="oil"), "style is 'oil'"),  # type: ignore[arg-type]
        ],
    )
    def test_bad_values(self, options: CritterOptions, says: str) -> None:
        for refuse in (parameters, count_files, draw_files):
            with pytest.raises(UsageError, match=says):
                refuse(options)

"""What is done with every picture of a batch, and which results are of the same making."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from slip.batch.names import Names
from slip.batch.plan import Maker, Plan, Wanted
from slip.batch.sources import Task
from slip.options import MAX_MEGAPIXELS

Sharing = Literal["one-to-one", "label-all"]
"""How the prompts share the segments of a picture: each gets its own one, or each segment one prompt."""


@dataclass(frozen=True)
class Job:
    """What is done with every picture.

    folder: of the results. sharing: None where the prompts do not heed each other.
    max_megapixels: larger pictures fail; it decides nothing else.
    settings: all else that decides the results (JSON).
    """

    folder: Path
    wanted: Wanted = field(default_factory=Wanted)
    sharing: Sharing | None = None
    max_megapixels: float = MAX_MEGAPIXELS
    overwrite: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    maker: Maker = field(default_factory=Maker)

    @property
    def as_coco(self) -> bool:
        """Whether masks go to a COCO file at the end, by way of the results, and not to pictures."""
        return not self.wanted.masks

    def plan(self, task: Task, prompt: str) -> Plan:
        """The files of a picture and a prompt."""
        return Plan.of(Names.after(self.folder / f"{task.stem}.{task.slugs[prompt]}"), self.wanted)

    def label_names(self, task: Task) -> tuple[Path, Path]:
        """The index picture of a labelled picture, and its JSON."""
        names = Names.after(self.folder / task.stem)
        return names.beside("labels.png"), names.beside("labels.json")

    def paths(self, task: Task, prompt: str) -> Sequence[Path]:
        """Every file of a picture and a prompt that is known of before the search."""
        if self.sharing == "label-all":
            return () if self.as_coco else self.label_names(task)
        return self.plan(task, prompt).paths

    def replaced(self, task: Task, prompt: str) -> Sequence[Path]:
        """``paths``, and further masks of an earlier search."""
        if self.sharing == "label-all":
            return self.paths(task, prompt)
        return self.plan(task, prompt).replaced

    def masks(self, task: Task, prompt: str) -> Sequence[Path]:
        """The files by any of which a picture and a prompt have been done, by these settings or others."""
        return self.label_names(task) if self.sharing == "label-all" else self.plan(task, prompt).masks

    def keeps(self, told: Mapping[str, Any]) -> bool:
        """Whether a line of the results stands: it has its files and, for COCO, its segments."""
        if self.as_coco and told["status"] == "found" and told.get("segments") is None:
            return False
        return all((self.folder / name).is_file() for name in told["files"])

    def digest(self, task: Task) -> str:
        """Some digits of the SHA-256 over all that decides the results of a picture, but the picture."""
        decides = {
            "wanted": asdict(self.wanted),
            "sharing": self.sharing,
            "prompts": sorted(task.slugs) if self.sharing else None,
            **self.settings,
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]

"""What many tests share: the smallest networks, with random weights, and time to answer."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that make ``slip segment`` use them; of ``slip masks``, the first two."""
    from cli.tiny_models import save_models

    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory, tiny_models: list[str]) -> Path:
    """A folder with the data set ``shapes`` and what ``slip finetune`` makes of it unbroken: ``clip``."""
    from cli.lessons import FINETUNE, draw_shapes, teach

    folder = tmp_path_factory.mktemp("taught")
    draw_shapes(folder / "shapes")
    teach(*FINETUNE, "-o", "clip", "--from", tiny_models[3], cwd=folder)
    return folder

"""What many tests share: the smallest networks, with random weights, and time to answer."""

from __future__ import annotations

import hypothesis
import pytest

hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that make ``slip segment`` use them; of ``slip masks``, the first two."""
    from cli.tiny_models import save_models

    return save_models(tmp_path_factory.mktemp("models"))

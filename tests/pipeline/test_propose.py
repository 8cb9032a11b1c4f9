from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeProposer

from slip.pipeline.propose import propose_segments

SIDE = FakeProposer.image_size


def picture(height, width):
    """A green quarter at the lower right, on black."""
    image = np.zeros((height, width, 3), np.uint8)
    image[height // 2 :, width // 2 :] = (0, 255, 0)
    return image


@pytest.mark.parametrize("size", [(1, 1), (600, 800), (SIDE, 40)])
def test_small_pictures_pass_untouched(size):
    proposer = FakeProposer()
    (segment,) = propose_segments(proposer, picture(*size))
    assert proposer.seen == [(*size, 3)]
    assert segment.image_size == size


def test_a_small_picture_is_not_copied():
    image = picture(20, 30)

    class Checking(FakeProposer):
        def propose(self, given, progress=None):
            assert given is image
            return super().propose(given, progress)

    propose_segments(Checking(), image)


def test_large_pictures_are_searched_reduced_and_answered_at_their_size():
    proposer = FakeProposer()
    image = picture(3 * SIDE, 3 * 600)
    (segment,) = propose_segments(proposer, image)
    assert proposer.seen == [(SIDE, 600, 3)]
    assert segment.image_size == image.shape[:2]
    wrong = segment.mask != image.any(axis=2)
    assert wrong.mean() < 0.01


def test_a_thin_picture_keeps_a_pixel_of_width():
    proposer = FakeProposer()
    propose_segments(proposer, np.full((5000, 1, 3), 200, np.uint8))
    assert proposer.seen == [(SIDE, 1, 3)]


def test_progress_is_the_proposers():
    calls = []
    propose_segments(FakeProposer(), picture(8, 8), lambda *call: calls.append(call))
    assert calls == [("propose", 1, 1)]

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeProposer

from slip.pipeline.propose import Remembering, propose_segments
from slip.types import Proposer

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


def test_the_last_picture_is_remembered():
    inner = FakeProposer()
    proposer: Proposer = Remembering(inner)
    assert (proposer.name, proposer.image_size) == (inner.name, inner.image_size)
    first, other = picture(20, 30), picture(20, 32)
    (segment,) = proposer.propose(first)
    found = proposer.propose(first.copy())
    assert found == [segment] and len(inner.seen) == 1
    found.clear()
    assert proposer.propose(first) == [segment]
    proposer.propose(other)
    assert len(inner.seen) == 2
    assert proposer.propose(first)[0].box == segment.box and len(inner.seen) == 3


def test_a_picture_changed_in_place_is_another():
    proposer = Remembering(FakeProposer())
    image = picture(20, 30)
    (before,) = proposer.propose(image)
    image[0, 0] = (0, 255, 0)
    (after,) = proposer.propose(image)
    assert after.area == before.area + 1


def test_several_users_share_one_search_of_a_large_picture():
    inner = FakeProposer()
    proposer = Remembering(inner)
    image = picture(60, 2 * SIDE)
    first, second = (propose_segments(proposer, image) for _ in range(2))
    assert len(inner.seen) == 1
    assert [one.box for one in first] == [other.box for other in second]

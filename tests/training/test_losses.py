"""The losses against arithmetic, against each other and against the figures that were published."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from slip.training.losses import clip_loss, paper_loss, supervised_loss

SCALE = torch.tensor(14.0)


def features(count: int = 12, width: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    drawn = torch.randn(2, count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn[0], drawn[1]


def softmax(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(rows - rows.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def plain_paper_loss(images: NDArray[np.float64], texts: NDArray[np.float64], tau: float) -> float:
    logits = texts @ images.T / tau
    targets = softmax((images @ images.T + texts @ texts.T) / 2 * tau)
    texts_loss = (-targets * np.log(softmax(logits))).sum(1)
    images_loss = (-targets.T * np.log(softmax(logits.T))).sum(1)
    return float(((images_loss + texts_loss) / 2).mean())


def plain_supervised_loss(
    images: NDArray[np.float64], texts: NDArray[np.float64], captions: list[int], scale: float
) -> float:
    images = images / np.linalg.norm(images, axis=1, keepdims=True)
    texts = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    total, count = 0.0, len(captions)
    for logits in (scale * images @ texts.T, scale * texts @ images.T):
        for i, chances in enumerate(softmax(logits)):
            own = [j for j in range(count) if captions[j] == captions[i]]
            total -= sum(math.log(chances[j]) for j in own) / len(own)
    return total / count / 2


def floor_of(captions: Tensor) -> float:
    """The mean of ln m over the items: the sum of m ln m over the captions, divided by B."""
    counts = captions.unique(return_counts=True)[1].double()
    return float((counts * counts.log()).sum() / len(captions))


def class_perfect(captions: Tensor, length: float) -> Tensor:
    """Features that are the same within a caption and at right angles between captions."""
    return one_hot(captions).double() * length


@pytest.mark.parametrize("batch", [1, 2, 20, 64])
@pytest.mark.parametrize("length", [0.1, 1.0, 9.0])
def test_collapsed_embeddings_give_ln_b(batch: int, length: float) -> None:
    images = torch.full((batch, 16), length, dtype=torch.float64)
    texts = -images / 3
    captions = torch.arange(batch) // 3
    measured = [
        supervised_loss(images, texts, captions, SCALE),
        clip_loss(images, texts, SCALE),
        paper_loss(images, texts),
    ]
    assert [float(loss) for loss in measured] == pytest.approx([math.log(batch)] * 3, abs=1e-12)


@pytest.mark.parametrize("tau", [1.0, 0.5, 3.0])
def test_the_papers_loss_is_the_formula(tau: float) -> None:
    images, texts = features()
    expected = plain_paper_loss(images.numpy(), texts.numpy(), tau)
    assert float(paper_loss(images, texts, tau)) == pytest.approx(expected, rel=1e-12)


def test_the_supervised_loss_is_the_formula() -> None:
    images, texts = features()
    captions = [0, 1, 0, 2, 3, 3, 3, 4, 5, 0, 6, 7]
    expected = plain_supervised_loss(images.numpy(), texts.numpy(), captions, 14.0)
    measured = supervised_loss(images, texts, torch.tensor(captions), SCALE)
    assert float(measured) == pytest.approx(expected, rel=1e-12)


def test_without_repeats_the_supervised_loss_is_clips() -> None:
    images, texts = features()
    captions = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    measured = float(supervised_loss(images, texts, captions, SCALE))
    assert measured == pytest.approx(float(clip_loss(images, texts, SCALE)), rel=1e-6)
    captions[0] = captions[1]
    assert measured != pytest.approx(float(supervised_loss(images, texts, captions, SCALE)), rel=1e-3)


def test_the_floor_with_repeated_captions_is_reached() -> None:
    captions = torch.tensor([0, 0, 0, 1, 2, 2, 3, 4])
    assert floor_of(captions) == pytest.approx((3 * math.log(3) + 2 * math.log(2)) / 8)
    perfect = class_perfect(captions, 1.0)
    measured = supervised_loss(perfect, perfect, captions, torch.tensor(100.0))
    assert float(measured) == pytest.approx(floor_of(captions), abs=1e-12)
    assert float(paper_loss(perfect * 9, perfect * 9)) == pytest.approx(floor_of(captions), abs=1e-12)


def test_nothing_learned_falls_below_the_floor() -> None:
    captions = torch.tensor([0, 0, 0, 1, 2, 2])
    images = features(6, 4, seed=3)[0].requires_grad_()
    names = features(3, 4, seed=4)[1].requires_grad_()
    optimiser = torch.optim.Adam([images, names], 0.1)
    losses = []
    for _ in range(300):
        loss = supervised_loss(images, names[captions], captions, torch.tensor(30.0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > floor_of(captions) + 0.5
    assert floor_of(captions) - 1e-9 <= losses[-1] < floor_of(captions) + 0.01


def expected_floor(sizes: list[int], batch: int) -> float:
    """The floor of a batch of draws from classes of these sizes, on average."""
    total = sum(sizes)
    return sum(
        size
        / total
        * math.log(1 + more)
        * math.comb(batch - 1, more)
        * p**more
        * (1 - p) ** (batch - 1 - more)
        for size in sizes
        for p in [size / total]
        for more in range(batch)
    )


def test_every_batch_of_64_from_149_classes_has_a_floor() -> None:
    even, uneven = expected_floor([72] * 149, 64), expected_floor([60] * 139 + [240] * 10, 64)
    assert even == pytest.approx(0.270, abs=0.001)
    assert uneven > even + 0.05, "classes of unequal sizes repeat more often"
    random = torch.Generator().manual_seed(0)
    drawn = []
    for _ in range(200):
        captions = torch.randint(149, (64,), generator=random)
        perfect = one_hot(captions, 149).double() * 9
        drawn.append(float(paper_loss(perfect, perfect)))
        assert drawn[-1] == pytest.approx(floor_of(captions), abs=1e-9)
    assert sum(drawn) / 200 == pytest.approx(even, abs=0.02)


def one_direction_collapsed(batch: int) -> tuple[Tensor, Tensor]:
    """All texts the same, all pictures along one line, one of them the longest."""
    direction = torch.zeros(batch, 8, dtype=torch.float64)
    direction[:, 0] = 30
    lengths = torch.ones(batch, 1, dtype=torch.float64)
    lengths[batch // 2] = 2
    return direction * lengths, direction


def test_the_published_2_074_is_one_direction_collapsed() -> None:
    assert float(paper_loss(*one_direction_collapsed(64))) == pytest.approx(math.log(64) / 2, abs=1e-9)
    sizes = [64] * 33 + [20]
    assert sum(sizes) == 2132, "the validation pictures of the paper"
    losses = [float(paper_loss(*one_direction_collapsed(size))) for size in sizes]
    mean = sum(size * loss for size, loss in zip(sizes, losses, strict=True)) / 2132
    assert round(mean, 3) == 2.074


def gradient_of_targets(loss: str) -> float:
    """How strongly features are pulled where the logits alone would not pull at all."""
    images, texts = (rows.requires_grad_() for rows in features(6, 4))
    captions = torch.tensor([0, 0, 1, 2, 2, 3])
    if loss == "paper":
        paper_loss(images, texts).backward()
        with torch.no_grad():
            targets = ((images @ images.T + texts @ texts.T) / 2).softmax(-1)
        logits = texts @ images.T
    else:
        supervised_loss(images, texts, captions, SCALE).backward()
        same = (captions[:, None] == captions).double()
        targets = same / same.sum(1, keepdim=True)
        logits = SCALE * normalize(texts, dim=-1) @ normalize(images, dim=-1).T
    pulled = images.grad
    images.grad = None
    fixed = -(targets * logits.log_softmax(-1)).sum(1) - (targets.T * logits.T.log_softmax(-1)).sum(1)
    (fixed.mean() / 2).backward()
    assert pulled is not None and images.grad is not None
    return float((pulled - images.grad).abs().max())


def test_only_the_papers_targets_are_taught() -> None:
    assert gradient_of_targets("supervised") < 1e-6
    assert gradient_of_targets("paper") > 1e-2


def test_the_order_of_the_items_does_not_matter() -> None:
    images, texts = features()
    captions = torch.tensor([0, 1, 0, 2, 3, 3, 3, 4, 5, 0, 6, 7])
    order = torch.randperm(12, generator=torch.Generator().manual_seed(5))
    for loss in (
        lambda i: supervised_loss(images[i], texts[i], captions[i], SCALE),
        lambda i: clip_loss(images[i], texts[i], SCALE),
        lambda i: paper_loss(images[i], texts[i]),
    ):
        assert float(loss(order)) == pytest.approx(float(loss(torch.arange(12))), rel=1e-9)


def test_the_length_of_features_does_not_matter_but_to_the_papers() -> None:
    images, texts = features()
    captions = torch.arange(12) // 2
    assert float(supervised_loss(3 * images, texts / 2, captions, SCALE)) == pytest.approx(
        float(supervised_loss(images, texts, captions, SCALE))
    )
    assert float(clip_loss(3 * images, texts / 2, SCALE)) == pytest.approx(
        float(clip_loss(images, texts, SCALE))
    )
    assert abs(float(paper_loss(3 * images, texts)) - float(paper_loss(images, texts))) > 0.1


def test_the_scale_is_taught() -> None:
    images, texts = features()
    for loss in (
        lambda scale: supervised_loss(images, texts, torch.arange(12), scale),
        lambda scale: clip_loss(images, texts, scale),
    ):
        scale = torch.tensor(5.0, requires_grad=True)
        loss(scale).backward()
        assert scale.grad is not None and scale.grad != 0

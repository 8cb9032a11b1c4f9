import math

import torch

from recipes.clip_texts import Facts
from recipes.clip_tiny import is_true
from recipes.sam_tiny import first_round, iou, mask_loss


def plain_mask_loss(logits: list[float], targets: list[float]) -> float:
    shares = [1 / (1 + math.exp(-logit)) for logit in logits]
    focal = [
        -(t * math.log(p) + (1 - t) * math.log(1 - p)) * (p - t) ** 2
        for p, t in zip(shares, targets, strict=True)
    ]
    overlap = sum(p * t for p, t in zip(shares, targets, strict=True))
    dice = 1 - (2 * overlap + 1) / (sum(shares) + sum(targets) + 1)
    return 20 * sum(focal) / len(focal) + dice


def test_mask_loss_is_the_formula() -> None:
    logits, targets = [2.0, -1.0, 0.5, -3.0], [1.0, 0.0, 1.0, 0.0]
    measured = mask_loss(torch.tensor(logits).view(1, 1, 2, 2), torch.tensor(targets).view(1, 1, 2, 2))
    assert math.isclose(float(measured), plain_mask_loss(logits, targets), rel_tol=1e-5)


def test_each_answer_is_laid_on_the_nearest_mask() -> None:
    whole, part = torch.zeros(8, 8), torch.zeros(8, 8)
    whole[2:7], part[3] = 1, 1
    logits = torch.stack([-8 * torch.ones(8, 8), part * 16 - 8, whole * 16 - 8])[None]
    losses, chosen = first_round(logits, torch.tensor([[0.0, 1.0, 1.0]]), torch.stack([whole, part])[None])
    assert chosen.tolist() == [2]
    assert losses.max() < 0.01


def test_iou_counts_pixels() -> None:
    logits, target = torch.full((1, 1, 4, 4), -1.0), torch.zeros(1, 1, 4, 4)
    logits[..., :2, :], target[..., 1:3, :] = 1.0, 1.0
    assert math.isclose(float(iou(logits, target)), 1 / 3, rel_tol=1e-6)


def test_a_text_is_true_when_each_claim_is() -> None:
    crops = [
        Facts("critter", "bird", "blue", "striped", "white"),
        Facts("wing", "bird", "blue", "striped", "white"),
    ]
    texts = [
        Facts("critter", "bird"),
        Facts("critter", "bird", "blue", "striped"),
        Facts("critter", "bird", "red"),
        Facts("wing", "bird"),
        Facts("ground"),
    ]
    truth = is_true(
        torch.tensor([crop.codes() for crop in crops]), torch.tensor([text.codes() for text in texts])
    )
    assert truth.tolist() == [[True, True, False, False, False], [False, False, False, True, False]]

"""What a dual encoder is taught by: how far pictures are from their own captions, in nats.

All losses take raw features, ``(B, D)`` each, row i of both belonging together, and give a scalar.
Embeddings that are all the same give exactly ln B, whichever the loss.

A caption that m items of a batch share cannot tell them apart: its m text rows are the same, and so
the first two losses are at least ln m for each of these items. The floor of a batch is the mean of
ln m over its items, which is the sum of m ln m over its captions, divided by B. The paper's loss of
features that are perfect by class is the same, but that is no floor of it: see below.
"""

from __future__ import annotations

from open_clip.loss import ClipLoss
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


def supervised_loss(images: Tensor, texts: Tensor, captions: Tensor, scale: Tensor) -> Tensor:
    """Every picture belongs to every text of its caption, evenly; the mean of both directions.

    captions: ``(B,)`` integers, equal where captions are. scale: what cosines are multiplied by.
    """
    same = (captions[:, None] == captions[None]).to(images.dtype)
    targets = same / same.sum(1, keepdim=True)
    logits = scale * normalize(images, dim=-1) @ normalize(texts, dim=-1).T
    return (cross_entropy(logits, targets) + cross_entropy(logits.T, targets)) / 2


def clip_loss(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """CLIP's own (arXiv 2103.00020, figure 3): every picture belongs to its own row's text alone.

    scale: what cosines are multiplied by.
    """
    loss: Tensor = ClipLoss()(normalize(images, dim=-1), normalize(texts, dim=-1), scale)
    return loss


def paper_loss(images: Tensor, texts: Tensor, temperature: float = 1.0) -> Tensor:
    """The loss of arXiv 2405.07284 and of the tutorial it follows, with its flaws.

    The features themselves are asked how alike two items are, and that is the target. The flaws,
    kept so that published figures can be reproduced:

    - the targets are not detached: features are taught to change the targets, too;
    - the targets of the second direction are transposed, so their rows no longer sum to 1; what
      sums to B is all of them. Where every picture's target is the same longest one, the first
      direction can reach 0 while the second stays at ln B: together ln(B) / 2;
    - the temperature divides the logits but multiplies what the targets are made of;
    - features of any length are multiplied, so that the softmax of them is as good as always 0 or 1;
    - of the items that share a caption, each one's target favours itself, which no text can.
    """
    logits = texts @ images.T / temperature
    alike = (images @ images.T + texts @ texts.T) / 2
    targets = (alike * temperature).softmax(-1)
    return (cross_entropy(logits, targets) + cross_entropy(logits.T, targets.T)) / 2

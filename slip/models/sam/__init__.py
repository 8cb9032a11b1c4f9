"""SAM (Kirillov et al. 2023, arXiv 2304.02643): segment_anything's own classes and weights.

``load`` builds and loads it. ``reference`` proposes by segment_anything's automatic mask generator,
``proposer`` finds the same masks sooner, through ``encoder``, ``decoder``, ``fullsize`` and ``points``.
"""

from slip.models.sam.load import build_sam, load_sam

__all__ = ["build_sam", "load_sam"]

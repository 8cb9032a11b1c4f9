"""How each network of parts is begun, by the name of its method."""

from __future__ import annotations

from slip.errors import UsageError
from slip.models.checks import is_own_clip, named_clip
from slip.options import PartNetwork
from slip.training.parts import Begin


def begin_with(method: PartNetwork, start: str, weights: str | None) -> Begin:
    """What makes the network and its task.

    start: ``tiny``, a small one that trains on a CPU; ``base``, the published one; for ``cris`` also a CLIP
    with a ModifiedResNet; or a checkpoint of the method, with or without its suffix, to go on from.
    weights: for a CLIP, as ``load_encoder`` takes them.

    Raises UsageError for what cannot be begun with; ``Begin`` itself raises that and WeightsError.
    """
    if weights is not None and (start == "tiny" or is_own_clip(named_clip(start))):
        raise UsageError(f"{start} brings its weights; leave --weights {weights} out")
    if method == "cris":
        from slip.training.cris import begin

        return begin(start, weights)
    if method == "clipseg":
        from slip.training.clipseg import begin

        return begin(start, weights)
    from slip.training.maskrcnn import begin

    return begin(start, weights)

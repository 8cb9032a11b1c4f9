"""CRIS (arXiv 2111.15174): CLIP's encoders, a neck, a vision-language decoder and a projector.

    picture -> C3, C4, C5 -> neck (with the sentence) -> decoder (with the words) -> projector -> logits

The picture's part of the work is done once for any number of expressions.
"""

"""Measuring whatever answers a picture and an expression with the mask of a part."""

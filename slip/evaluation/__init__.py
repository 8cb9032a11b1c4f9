"""Measuring segmenters: intervals and metrics."""

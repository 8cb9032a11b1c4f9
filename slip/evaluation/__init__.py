"""Measuring segmenters: composites to trials, trials to figures, figures to a report."""

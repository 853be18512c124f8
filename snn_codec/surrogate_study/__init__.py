"""Surrogate gradients compared: a grid of training runs, its results, figures and report."""

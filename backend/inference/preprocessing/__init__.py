"""Preprocessing of RGB images to model inputs, shared with training."""

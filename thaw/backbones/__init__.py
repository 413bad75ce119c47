"""Backbones: built by their architecture, with the weights that they were pretrained to."""

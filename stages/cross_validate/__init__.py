"""Cross-validation of a variant."""

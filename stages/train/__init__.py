"""The stage that trains a variant behind its freeze boundary, or solves a linear head."""

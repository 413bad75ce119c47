"""Scores, their uncertainty, and whether two models differ."""

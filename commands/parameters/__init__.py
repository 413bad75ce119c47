"""Writes docs/params.schema.json, by which editors complete params.yaml, and docs/parameters.md for people."""

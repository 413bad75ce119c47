"""The stage that looks for images whose labels may be wrong."""

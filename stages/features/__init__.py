"""The stage that computes what a frozen part of a backbone makes of all images."""

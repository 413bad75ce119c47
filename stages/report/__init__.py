"""The stage that compares the variants and reports on them."""

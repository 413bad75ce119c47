"""What is kept in `.thaw/` to save time, and may be deleted."""

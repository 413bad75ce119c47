"""What is kept in the user's cache and in `.thaw/` to save time, and may be deleted."""

"""The commands of `thaw`, one module each."""

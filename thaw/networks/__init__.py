"""Keras models: built, cut, put together, loaded and saved."""

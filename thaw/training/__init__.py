"""Training a variant, and going on with a training that was interrupted."""

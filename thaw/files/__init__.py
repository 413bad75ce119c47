"""Files: found, read, watched, and written whole or not at all."""

"""params.yaml: how it is read, and the schema of each of its sections."""

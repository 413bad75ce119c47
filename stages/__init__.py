"""One module per stage: files and entries of params.yaml in, one story, files out."""

"""One module per command of `thaw`: `add_arguments` says what it takes, `main` does it."""

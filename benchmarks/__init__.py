"""How fast Thaw is, beside the ways that tutorials show, measured in turn in one run."""

"""Files by which one stage hands its results to another."""

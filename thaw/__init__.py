"""What the stages share. Nothing in this package knows that DVC exists."""

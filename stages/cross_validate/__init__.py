"""The stage that trains a variant anew on parts of the images, and scores it on the others."""

"""The stage that lists the images of a data set with their classes and splits."""

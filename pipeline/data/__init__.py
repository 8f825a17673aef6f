"""The prepared array, the images of a scenario, and augmented batches."""

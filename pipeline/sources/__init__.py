"""One module a data set: raw files become images, labels and evidence (paper, section 4.1)."""

"""One module per data set: raw files become pictures, labels and evidence (paper, section 4.1)."""

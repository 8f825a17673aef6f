"""Epochs of cross-entropy plus penalty, their state, and their metrics (paper, section 4.3)."""

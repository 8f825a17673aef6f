"""Answers become masks W, and masks become a term of the loss (paper, section 3.3 and Eq. 2)."""

"""Scores, attention, statistics and figures of final networks (paper, section 5)."""

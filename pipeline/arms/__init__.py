"""The ways to train in a scenario: baseline, automated, hitl, and the placebos (paper, section 4.3)."""

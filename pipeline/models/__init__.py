"""Networks: backbones, the classifier around them, and their state files (paper, section 4.2)."""

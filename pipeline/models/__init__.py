"""Networks: backbones, the classifier around a backbone, and state files (paper, section 4.2)."""

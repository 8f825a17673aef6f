"""Put a round before experts in Label Studio, and collect every answer (paper, section 3.2)."""

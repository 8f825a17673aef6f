"""Which images to ask about, what the network looks at, and which regions to show (paper, sections 3.1 and 3.2)."""

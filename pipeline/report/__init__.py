"""The comparison of all arms as tables and as one page (paper, Table 2)."""

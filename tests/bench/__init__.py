"""A corpus of known totals, and the comparison of tallybook with other readers over it."""

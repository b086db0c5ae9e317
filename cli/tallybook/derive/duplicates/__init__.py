"""Which rows are one call, and which of them counts."""

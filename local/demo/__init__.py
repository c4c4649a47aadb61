"""Demo data: fake rows for a database of any size."""

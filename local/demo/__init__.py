"""Demo data: fake users and posts for a database of any size."""

"""Committed files that are generated from the code; a test fails if they are outdated."""

"""Callers (`identity`), what each role may do (`permissions`), and how often (`limits`)."""

"""Who calls (`identity`), what they may do (`policy`), and how often (`limits`)."""

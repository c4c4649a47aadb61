"""Who calls (`identity`), and what they may do (`policy`)."""

"""Redis: cached pages of lists, and the protocol that keeps them coherent."""

"""Redis: which lists are cached, and how their pages are kept coherent."""

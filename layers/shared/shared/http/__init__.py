"""HTTP: the application around each route, its types, pages, and errors."""

"""A small API of the tests' own: writers, and their articles, each a module.

The layer is tested on these, so that a product's resources may change, or be removed, without it.
Their tables are made beside those of the migrations (`tests.example.models`), and the transport of
`tests.in_process` has their routes.
"""

ROUTES = {"/writers": "tests.example.writers", "/articles": "tests.example.articles"}
"""The modules that handle the requests of each path and below it."""

"""Code shared by the functions: HTTP, database, cache, cold starts, settings, observability.

The functions import `shared`, never the other way round. Importing it has no side effects.
"""

"""What the functions share: HTTP, database, cache, cold starts, settings, observability.

Nothing here knows a resource's routes; functions import `blog`, never the other way round.
Importing it has no effect beyond the import.
"""

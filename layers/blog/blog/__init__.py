"""What the functions share: settings, models, database, cache, errors, observability.

Nothing here knows a resource's routes; functions import `blog`, never the other way round.
"""

import blog.lean_fastapi  # noqa: F401 - before anything imports FastAPI

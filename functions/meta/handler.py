"""Lambda handler of the documentation, the health check, and all other paths."""

from shared.coldstart import fast_imports, prepare

with fast_imports(deferred=("shared.database", "meta.queries")):
    from meta.routes import router
    from shared.http.application import create_app, lambda_handler

app = create_app(router, is_public=True)
handler = lambda_handler(app)
prepare(handler, "/health")

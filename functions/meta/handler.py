"""Lambda handler of the documentation, the health check, and all other paths."""

from blog.coldstart import fast_imports, prepare

with fast_imports(deferred=("blog.database", "meta.queries")):
    from blog.http.application import create_app, lambda_handler
    from meta.routes import router

app = create_app(router, is_public=True)
handler = lambda_handler(app)
prepare(handler, "/health")

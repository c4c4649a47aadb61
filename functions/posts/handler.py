"""Lambda handler of the posts."""

from shared.coldstart import fast_imports, prepare

with fast_imports(deferred=("shared.database", "posts.queries")):
    from posts.routes import posts
    from shared.http.application import create_app, lambda_handler

app = create_app(posts.router)
handler = lambda_handler(app)
prepare(handler, "/posts", "/posts/1")

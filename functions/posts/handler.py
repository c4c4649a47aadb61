"""Lambda handler of the posts."""

from blog.coldstart import fast_imports, prepare

with fast_imports(deferred=("blog.database", "posts.queries")):
    from blog.http.application import create_app, lambda_handler
    from posts.routes import posts

app = create_app(posts.router)
handler = lambda_handler(app)
prepare(handler, "/posts", "/posts/1")

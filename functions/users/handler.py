"""Lambda handler of the users."""

from blog.coldstart import fast_imports, prepare

with fast_imports(deferred=("blog.database", "users.queries", "users.search")):
    from blog.http.application import create_app, lambda_handler
    from users.routes import users

app = create_app(users.router)
handler = lambda_handler(app)
prepare(handler, "/users", "/users/1")

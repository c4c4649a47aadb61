"""Lambda handler of the users."""

from shared.coldstart import fast_imports, prepare

with fast_imports(deferred=("shared.database", "users.queries", "users.search")):
    from shared.http.application import create_app, lambda_handler
    from users.routes import users

app = create_app(users.router)
handler = lambda_handler(app)
prepare(handler, "/users", "/users/1")

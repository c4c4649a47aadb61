"""Lambda handler of the documentation, the health check, and every path that nobody else has."""

from blog.application import create_app, lambda_handler
from docs.routes import router

app = create_app(router)
handler = lambda_handler(app)

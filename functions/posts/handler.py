"""Lambda handler of the resource."""

from blog.application import create_app, lambda_handler
from posts.routes import router

app = create_app(router)
handler = lambda_handler(app)

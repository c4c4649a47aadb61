"""`GET /posts/{id}` for the baseline, which lacks it, in the style of its `GET /users/{id}`."""

from fastapi import Depends, HTTPException
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.baseline.app import Post, PostOut, app, db


@app.get("/posts/{id}", response_model=PostOut)
async def get_post(id: int, s: AsyncSession = Depends(db)) -> Post:  # noqa: B008
    if not (post := await s.get(Post, id)):
        raise HTTPException(404, "Post not found")
    return post

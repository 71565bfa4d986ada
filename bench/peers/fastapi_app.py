"""The same as ours does at its edge, with FastAPI: a token is verified, a
question is checked and put into Redis; a result is read from PostgreSQL.

Usage: fastapi_app.py PORT best|default, and in the environment REDIS_PORT,
PG_URL, JWT_SECRET, JWT_ISS.

"best" is uvloop and httptools without an access log, "default" is what
uvicorn takes with neither of them.
"""

import json
import os
import sys
import uuid

import asyncpg
import jwt
import redis.asyncio
import uvicorn
from fastapi import FastAPI, Header, HTTPException
from fastapi.responses import Response
from pydantic import BaseModel, Field

app = FastAPI()
secret = os.environ["JWT_SECRET"]
issuer = os.environ["JWT_ISS"]
store = {}


class Query(BaseModel):
    query: str = Field(min_length=1, max_length=32768)


@app.on_event("startup")
async def startup():
    store["redis"] = redis.asyncio.Redis(port=int(os.environ["REDIS_PORT"]))
    if os.environ.get("PG_URL"):
        store["pg"] = await asyncpg.create_pool(
            os.environ["PG_URL"], min_size=4, max_size=4)


def owner_of(authorization):
    if not authorization.startswith("Bearer "):
        raise HTTPException(401, "a token is missing")
    try:
        claims = jwt.decode(authorization[7:], secret, algorithms=["HS256"],
                            audience="trifecta", issuer=issuer,
                            options={"require": ["exp", "sub"]})
    except jwt.PyJWTError as e:
        raise HTTPException(401, str(e))
    return claims["sub"]


@app.post("/query", status_code=202)
async def submit(query: Query, authorization: str = Header("")):
    owner = owner_of(authorization)
    job = str(uuid.uuid4())
    # the job and its place in the queue, both or neither
    pipe = store["redis"].pipeline(transaction=True)
    pipe.hset("job:" + job, mapping={"owner": owner, "state": "queued",
                                     "query": query.query})
    pipe.lpush("queue", job)
    await pipe.execute()
    return {"query_id": job, "status": "queued"}


@app.get("/query/{job}")
async def result(job: uuid.UUID, authorization: str = Header("")):
    owner = "test:" + owner_of(authorization)
    row = await store["pg"].fetchrow(
        "SELECT j.state, r.body FROM trifecta.job j"
        " JOIN trifecta.job_result r ON r.job = j.id"
        " WHERE j.id = $1 AND j.owner = $2", job, owner)
    if row is None:
        raise HTTPException(404, "there is no such job")
    return Response(json.dumps({"query_id": str(job), "status": row["state"],
                                "answer": row["body"]}),
                    media_type="application/json")


if __name__ == "__main__":
    best = sys.argv[2] == "best"
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]),
                loop="uvloop" if best else "asyncio",
                http="httptools" if best else "h11",
                access_log=not best, log_level="warning" if best else "info")

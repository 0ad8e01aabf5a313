"""A page that counts its visits in Redis."""

import os

import redis
from flask import Flask

app = Flask(__name__)
store = redis.Redis(host=os.environ.get("REDIS_HOST", "redis"))


@app.get("/")
def hello() -> str:
    return f"This page has been seen {store.incr('visits')} times.\n"


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=5000)

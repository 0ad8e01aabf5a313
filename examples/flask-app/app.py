"""The smallest page worth putting into a container."""

import os

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    return f"Hello from {os.uname().nodename}!\n"


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=5000)

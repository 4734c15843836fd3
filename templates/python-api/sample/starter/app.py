"""A shelf of books. Your work: everything below /books."""

import os

from flask import Flask, jsonify

app = Flask(__name__)


@app.get("/health")
def health():
    return jsonify(status="ok")


app.run(host="127.0.0.1", port=int(os.environ["PORT"]))

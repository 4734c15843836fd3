"""Works, except that it takes any book (2 points) and knows no filters (1 point)."""

import os

from flask import Flask, jsonify, request

app = Flask(__name__)
books = {}
last = 0


@app.errorhandler(404)
def missing(_error):
    return jsonify(error="there is nothing here"), 404


@app.get("/health")
def health():
    return jsonify(status="ok")


@app.get("/books")
def list_books():
    return jsonify([books[number] for number in sorted(books)])


@app.post("/books")
def create():
    global last
    last += 1
    books[last] = {"read": False, **request.get_json(), "id": last}
    return jsonify(books[last]), 201, {"Location": f"/books/{last}"}


@app.get("/books/<int:number>")
def read(number):
    return jsonify(books[number]) if number in books else missing(None)


@app.delete("/books/<int:number>")
def delete(number):
    return ("", 204) if books.pop(number, None) else missing(None)


app.run(host="127.0.0.1", port=int(os.environ["PORT"]))

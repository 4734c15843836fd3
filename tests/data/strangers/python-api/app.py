"""A shelf of books in memory, over HTTP."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

shelf = {}
lock = threading.Lock()
last_id = 0


class Wrong(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def checked(book):
    if not isinstance(book, dict):
        raise Wrong(400, "the body must be a JSON object")
    unknown = set(book) - {"title", "author", "year", "read"}
    if unknown:
        raise Wrong(400, f"a book has no field {sorted(unknown)[0]!r}")
    for field in ("title", "author", "year"):
        if field not in book:
            raise Wrong(400, f"{field} is missing")
    for field in ("title", "author"):
        text = book[field]
        if not isinstance(text, str) or not text.strip() or len(text) > 200:
            raise Wrong(400, f"{field} must be a text of 1 to 200 characters")
    if type(book["year"]) is not int or not 1450 <= book["year"] <= 2100:
        raise Wrong(400, "year must be an integer from 1450 to 2100")
    if type(book.get("read", False)) is not bool:
        raise Wrong(400, "read must be true or false")
    return book


def add(body):
    global last_id
    try:
        book = json.loads(body.decode("utf-8"))
    except ValueError:
        raise Wrong(400, "the body is not JSON") from None
    book = checked(book)
    with lock:
        last_id += 1
        kept = {
            "id": last_id,
            "title": book["title"],
            "author": book["author"],
            "year": book["year"],
            "read": book.get("read", False),
        }
        shelf[last_id] = kept
    return kept


def search(query):
    wanted = parse_qs(query, keep_blank_values=True, encoding="utf-8")
    books = sorted(shelf.values(), key=lambda book: book["id"])
    if "read" in wanted:
        value = wanted["read"][0]
        if value not in ("true", "false"):
            raise Wrong(400, "read must be true or false")
        books = [book for book in books if book["read"] == (value == "true")]
    if "author" in wanted:
        name = wanted["author"][0].casefold()
        books = [book for book in books if book["author"].casefold() == name]
    return books


def number(path):
    text = path.removeprefix("/books/")
    if not (text.isascii() and text.isdigit() and int(text) in shelf):
        raise Wrong(404, "there is no such book")
    return int(text)


class Handler(BaseHTTPRequestHandler):
    def answer(self, status, body=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        data = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_with(self, work):
        try:
            work(urlsplit(self.path))
        except Wrong as wrong:
            self.answer(wrong.status, {"error": str(wrong)})

    def do_GET(self):
        self.handle_with(self.read)

    def do_POST(self):
        self.handle_with(self.create)

    def do_DELETE(self):
        self.handle_with(self.delete)

    def read(self, url):
        if url.path == "/health":
            self.answer(200, {"status": "ok"})
        elif url.path == "/books":
            self.answer(200, search(url.query))
        elif url.path.startswith("/books/"):
            self.answer(200, shelf[number(url.path)])
        else:
            raise Wrong(404, "there is nothing here")

    def create(self, url):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if url.path != "/books":
            raise Wrong(404, "there is nothing here")
        book = add(body)
        self.answer(201, book, Location=f"/books/{book['id']}")

    def delete(self, url):
        if not url.path.startswith("/books/"):
            raise Wrong(404, "there is nothing here")
        del shelf[number(url.path)]
        self.answer(204)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()

"""A shelf of books, with nothing but the standard library."""

import json
import os
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

books = {}
next_id = 1


class Refused(Exception):
    def __init__(self, status, text):
        self.status, self.text = status, text


def checked(sent):
    """The fields of a new book, or what is wrong with them."""
    if not isinstance(sent, dict):
        raise Refused(400, "the body must be a JSON object")
    if extra := set(sent) - {"title", "author", "year", "read"}:
        raise Refused(400, f"unknown field {sorted(extra)[0]}")
    for name in ("title", "author"):
        text = sent.get(name)
        if not isinstance(text, str) or not text.strip() or len(text) > 200:
            raise Refused(400, f"{name} must be a text of 1 to 200 characters")
    if type(sent.get("year")) is not int or not 1450 <= sent["year"] <= 2100:
        raise Refused(400, "year must be an integer from 1450 to 2100")
    if type(sent.get("read", False)) is not bool:
        raise Refused(400, "read must be true or false")
    return {"read": False, **sent}


def create(body):
    global next_id
    try:
        fields = checked(json.loads(body))
    except ValueError:
        raise Refused(400, "the body is not JSON") from None
    book = {"id": next_id, **fields}
    books[next_id] = book
    next_id += 1
    return book


def listed(query):
    found = [books[number] for number in sorted(books)]
    if "author" in query:
        author = query["author"][-1].casefold()
        found = [book for book in found if book["author"].casefold() == author]
    if "read" in query:
        wanted = {"true": True, "false": False}.get(query["read"][-1])
        if wanted is None:
            raise Refused(400, "read must be true or false")
        found = [book for book in found if book["read"] is wanted]
    return found


class Handler(BaseHTTPRequestHandler):
    def answer(self, status, value=None, **headers):
        data = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        if value is not None:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        one = re.fullmatch(r"/books/([0-9]{1,15})", url.path)
        number = int(one[1]) if one else None
        try:
            match (self.command, url.path):
                case ("GET", "/health"):
                    self.answer(200, {"status": "ok"})
                case ("GET", "/books"):
                    self.answer(200, listed(parse_qs(url.query, keep_blank_values=True)))
                case ("POST", "/books"):
                    book = create(body)
                    self.answer(201, book, Location=f"/books/{book['id']}")
                case ("GET", _) if number in books:
                    self.answer(200, books[number])
                case ("DELETE", _) if number in books:
                    del books[number]
                    self.answer(204)
                case _:
                    raise Refused(404, "there is nothing here")
        except Refused as refused:
            self.answer(refused.status, {"error": refused.text})

    do_GET = do_POST = do_DELETE = handle_any


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()

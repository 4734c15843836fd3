"""Tries a shelf service over HTTP and writes Gradescope results.

Runs in its own cell; the service answers from the other side of a shared loopback and may be
hostile. So every exchange is bounded in time and in bytes, nothing that it says is trusted to be
small, flat or printable, and the results on disk are valid after every test: a driver that is
killed leaves a verdict with the tests it had not reached at 0 points. Exits 0 whenever it ran.
"""

import functools
import http.client
import io
import json
import os
import secrets
import socket
import time
import urllib.parse

RESULTS = "/workspace/results.json"
REQUEST_S = 2.0  # one exchange, from connect to the last byte; the assignment promises it
TOTAL_S = 60.0  # all exchanges together
MAX_BYTES = 256 * 1024  # of one answer, head and body
MAX_MESSAGE = 400  # characters of a test's message
MAX_TIMEOUTS = 3  # after these many the service is taken for hung

SUBJECT = urllib.parse.urlsplit(os.environ.get("SUBJECT_URL", "http://127.0.0.1:8000"))
TESTS = []


class Wrong(Exception):
    """The service broke the assignment; the text says how."""


class Hung(Wrong):
    """The service took too long."""


# ---- one exchange ------------------------------------------------------------------------


class _Answer(io.RawIOBase):
    """The bytes of one answer, until a deadline and up to a limit."""

    def __init__(self, sock, deadline):
        self.sock, self.deadline, self.left = sock, deadline, MAX_BYTES

    def readable(self):
        return True

    def readinto(self, buffer):
        if self.left <= 0:
            raise Wrong(f"the answer is longer than {MAX_BYTES} bytes")
        self.sock.settimeout(max(self.deadline - time.monotonic(), 0.001))
        count = self.sock.recv_into(memoryview(buffer)[: self.left])
        self.left -= count
        return count

    def makefile(self, _mode):
        """What http.client asks of a socket."""
        return io.BufferedReader(self, 8192)


class Client:
    def __init__(self):
        self.end = time.monotonic() + TOTAL_S
        self.timeouts = 0

    def request(self, method, target, body=None):
        """(status, headers, body bytes) of one exchange on a fresh connection."""
        if self.timeouts >= MAX_TIMEOUTS:
            raise Hung(f"not tried: the service let {MAX_TIMEOUTS} requests time out")
        now = time.monotonic()
        deadline = min(now + REQUEST_S, self.end)
        if deadline <= now:
            raise Hung(f"not tried: the service used up all of {TOTAL_S:.0f} s")
        what = f"{method} {target[:80]}"
        try:
            return self._exchange(method, target, body, deadline)
        except TimeoutError:
            self.timeouts += 1
            raise Hung(f"{what}: no whole answer within {REQUEST_S:.0f} s") from None
        except OSError as error:
            raise Wrong(f"{what}: {error.strerror or type(error).__name__}") from None
        except (http.client.HTTPException, ValueError) as error:
            raise Wrong(f"{what}: not an HTTP answer ({type(error).__name__})") from None

    def _exchange(self, method, target, body, deadline):
        head = [f"{method} {target} HTTP/1.1", f"Host: {SUBJECT.netloc}", "Connection: close"]
        if body is not None:
            head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        address = (SUBJECT.hostname, SUBJECT.port)
        timeout = max(deadline - time.monotonic(), 0.001)
        with socket.create_connection(address, timeout=timeout) as sock:
            try:
                sock.sendall("\r\n".join([*head, "", ""]).encode("ascii") + (body or b""))
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may have answered without reading everything
            response = http.client.HTTPResponse(_Answer(sock, deadline), method=method)
            response.begin()
            data = response.read(MAX_BYTES)
            if response.length:  # a read with a size does not complain about a short body
                raise http.client.IncompleteRead(b"")
            return response.status, response.headers, data


client = Client()


# ---- what the assignment says of an answer -----------------------------------------------


def shown(value, limit=120):
    """Foreign text for a message: short, printable ASCII, one line."""
    text = ascii(value[: limit * 4] if isinstance(value, (bytes, str)) else value)
    return text if len(text) <= limit else text[:limit] + "..."


def refuse_constant(name):
    raise ValueError(name)


def parsed(data):
    try:
        return json.loads(data, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        raise Wrong(f"the body is not JSON: {shown(data)}") from None


def same(left, right):
    """Equal as JSON: true is not 1, and 1.0 is not 1."""
    try:
        return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
    except (ValueError, RecursionError):
        return False


def expect(method, target, status, body=None):
    """One exchange that must give this status; the JSON value of its body, and its headers."""
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    got, headers, data = client.request(method, target, raw)
    what = f"{method} {target[:60]}"
    if raw is not None:
        what += f" with {raw.decode()[:100]}"
    if got != status:
        raise Wrong(f"{what}: expected status {status}, got {got}")
    if status == 204:
        if data:
            raise Wrong(f"{what}: a 204 has no body, got {shown(data)}")
        return None, headers
    if headers.get_content_type() != "application/json":
        raise Wrong(f"{what}: expected Content-Type application/json, got {shown(headers.get_content_type())}")
    value = parsed(data)
    if status >= 400:
        text = value.get("error") if isinstance(value, dict) else None
        if not isinstance(text, str) or not text:
            raise Wrong(f'{what}: expected {{"error": "..."}} in a {status}, got {shown(value)}')
    return value, headers


def book(**changes):
    """A valid book to send, with an author that no other test uses."""
    sent = {"title": "Solaris", "author": f"Lem {secrets.token_hex(4)}", "year": 1961, "read": False}
    return {**sent, **changes}


def create(sent):
    """Creates a book and checks the whole answer; returns it."""
    made, headers = expect("POST", "/books", 201, sent)
    number = made.get("id") if isinstance(made, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number < 2**53:
        raise Wrong(f"POST /books: expected a book with an integer id of 1 or more, got {shown(made)}")
    wanted = {"read": False, **sent, "id": number}
    if not same(made, wanted):
        raise Wrong(f"POST /books: expected {shown(wanted, 200)}, got {shown(made, 200)}")
    return made, headers


def ids(target):
    """The ids of a list of books, in the order of the answer."""
    listed, _ = expect("GET", target, 200)
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Wrong(f"GET {target[:60]}: expected an array of books, got {shown(listed)}")
    return [one.get("id") for one in listed]


def quoted(text):
    return urllib.parse.quote(text, safe="")


# ---- the tests ---------------------------------------------------------------------------


def scored(points, name, visibility="visible"):
    def register(function):
        TESTS.append((name, points, visibility, function))
        return function

    return register


@scored(1, "health answers ok")
def health():
    value, _ = expect("GET", "/health", 200)
    if not same(value, {"status": "ok"}):
        raise Wrong(f'GET /health: expected {{"status": "ok"}}, got {shown(value)}')


@scored(1, "a created book comes back whole")
def creates():
    sent = book(title="  Głos Pana \u2013 'quoted' ", read=True)
    made, headers = create(sent)
    if headers.get("Location") != f"/books/{made['id']}":
        raise Wrong(f"POST /books: expected Location /books/{made['id']}, got {shown(headers.get('Location'))}")
    unread = book()
    del unread["read"]
    create(unread)


@scored(1, "a book can be read by its id")
def reads():
    made, _ = create(book(year=1450))
    value, _ = expect("GET", f"/books/{made['id']}", 200)
    if not same(value, made):
        raise Wrong(f"GET /books/{made['id']}: expected {shown(made, 200)}, got {shown(value, 200)}")


@scored(1, "the list has every book, smallest id first")
def lists():
    made = [create(book(title=title))[0]["id"] for title in ("Zulu", "Alpha", "Mike")]
    if made != sorted(set(made)):
        raise Wrong(f"ids must grow, got {shown(made)}")
    listed = ids("/books")
    if [one for one in listed if one in made] != made:
        raise Wrong(f"GET /books: expected the ids {made} in this order, got {shown(listed)}")


@scored(1, "what does not exist is 404")
def missing():
    for target in ("/books/999999999", "/books/none"):
        expect("GET", target, 404)
        expect("DELETE", target, 404)


@scored(2, "a bad book is 400 and is not kept")
def validates():
    author = f"Nobody {secrets.token_hex(4)}"
    good = book(author=author)
    bad = [
        b"{not json",
        b"[1, 2]",
        {key: value for key, value in good.items() if key != "title"},
        {key: value for key, value in good.items() if key != "year"},
        {**good, "title": " \t "},
        {**good, "title": "x" * 201},
        {**good, "title": 7},
        {**good, "year": 1449},
        {**good, "year": 2101},
        {**good, "year": True},
        {**good, "year": "1961"},
        {**good, "year": 1961.0},
        {**good, "read": "yes"},
        {**good, "id": 5},
        {**good, "pages": 204},
    ]
    for body in bad:
        expect("POST", "/books", 400, body)
    if kept := ids(f"/books?author={quoted(author)}"):
        raise Wrong(f"GET /books?author=...: refused books were kept, with ids {shown(kept)}")


@scored(1, "a deleted book is gone")
def deletes():
    made, _ = create(book())
    other, _ = create(book())
    expect("DELETE", f"/books/{made['id']}", 204)
    expect("GET", f"/books/{made['id']}", 404)
    expect("DELETE", f"/books/{made['id']}", 404)
    listed = ids("/books")
    if made["id"] in listed or other["id"] not in listed:
        raise Wrong(f"GET /books after deleting {made['id']}: got the ids {shown(listed)}")


@scored(1, "filters by author and by read")
def filters():
    author = f"Ursula & Łem {secrets.token_hex(4)}"
    unread = create(book(author=author))[0]["id"]
    read = create(book(author=author.upper(), read=True))[0]["id"]
    other = create(book(read=True))[0]["id"]
    by_author = f"author={quoted(author.lower())}"
    for query, wanted in (
        (by_author, [unread, read]),
        (f"{by_author}&read=true", [read]),
        (f"read=false&{by_author}", [unread]),
        (f"author={secrets.token_hex(8)}", []),
    ):
        got = ids(f"/books?{query}")
        if not same(got, wanted):
            raise Wrong(f"GET /books?{query[:60]}: expected the ids {wanted}, got {shown(got)}")
    got = ids("/books?read=true")
    if read not in got or other not in got or unread in got:
        raise Wrong(f"GET /books?read=true: expected {read} and {other} and not {unread}, got {shown(got)}")
    expect("GET", "/books?read=maybe", 400)


@scored(1, "an id is never used again", visibility="hidden")
def never_again():
    first = create(book())[0]["id"]
    expect("DELETE", f"/books/{first}", 204)
    second = create(book())[0]["id"]
    if second <= first:
        raise Wrong(f"book {first} was deleted and the next one got the id {second}")


# ---- the results -------------------------------------------------------------------------


def write(outcomes, started):
    """All tests, those not reached yet at 0; whole or not at all."""
    tests = []
    for number, (name, points, visibility, _) in enumerate(TESTS, start=1):
        passed, message = outcomes.get(name, (False, "not reached: the driver ended early"))
        tests.append(
            {
                "number": str(number),
                "name": name,
                "score": float(points if passed else 0),
                "max_score": float(points),
                "status": "passed" if passed else "failed",
                "output": message,
                "visibility": visibility,
            }
        )
    results = {
        "score": sum(test["score"] for test in tests),
        "execution_time": round(time.monotonic() - started),
        "tests": tests,
    }
    with open(RESULTS + ".part", "w", encoding="ascii") as file:
        json.dump(results, file)
    os.replace(RESULTS + ".part", RESULTS)


def outcome(function):
    try:
        function()
    except Wrong as error:
        return False, str(error)[:MAX_MESSAGE]
    except Exception as error:  # an answer that this driver did not foresee fails its test only
        return False, f"unexpected answer ({type(error).__name__})"
    return True, ""


def main():
    say = functools.partial(print, flush=True)
    started = time.monotonic()
    outcomes = {}
    write(outcomes, started)
    for name, points, visibility, function in TESTS:
        passed, message = outcome(function)
        outcomes[name] = passed, message
        write(outcomes, started)
        if visibility == "visible":
            say(f"{'ok    ' if passed else 'FAILED'} {points}  {name}{': ' if message else ''}{message}")


main()

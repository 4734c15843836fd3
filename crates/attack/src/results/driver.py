"""Asks ten questions. Every answer is bounded in bytes and in time."""

import http.client
import json
import os
import signal
from urllib.parse import urlsplit

QUESTIONS = 10
QUESTION_S = 0.6
MAX_BYTES = 4096


class Late(BaseException):
    """Not an Exception, so that nothing on the way takes it for an error of its own."""


def late(_signal, _frame):
    raise Late()


def ask(url, number):
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=QUESTION_S)
    try:
        connection.request("GET", f"/square/{number}")
        answer = connection.getresponse()
        body = answer.read(MAX_BYTES)
        return answer.status == 200 and body == str(number * number).encode(), repr(body[:200])
    finally:
        connection.close()


def grade(url, number):
    signal.setitimer(signal.ITIMER_REAL, QUESTION_S, 0.2)
    try:
        try:
            right, seen = ask(url, number)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Late:
        right, seen = False, "no answer in time"
    except Exception as error:
        right, seen = False, type(error).__name__
    # What the project answered is printed, as careless tests do: it must be nothing but output.
    print(number, "right" if right else "wrong", seen)
    return {"name": f"square of {number}", "score": 1 if right else 0, "max_score": 1, "output": seen}


def main():
    signal.signal(signal.SIGALRM, late)
    url = urlsplit(os.environ["SUBJECT_URL"])
    tests = [grade(url, number) for number in range(2, QUESTIONS + 2)]
    with open("/workspace/results.json", "w", encoding="utf-8") as file:
        json.dump({"tests": tests}, file)


main()

"""Runs what the project serves in its own process, as a browser runs the pages of a website. The report is whole
before the first page, and after each."""

import json
import os
import urllib.request

RESULTS = "/workspace/results.json"
URL = os.environ["SUBJECT_URL"]
PAGES = 3


def write(passed):
    tests = [{"name": f"page {n}", "score": int(n in passed), "max_score": 1} for n in range(1, PAGES + 1)]
    with open(RESULTS + ".part", "w", encoding="utf-8") as file:
        json.dump({"tests": tests}, file)
    os.replace(RESULTS + ".part", RESULTS)


def main():
    passed = set()
    write(passed)
    for number in range(1, PAGES + 1):
        page = urllib.request.urlopen(f"{URL}/{number}.py", timeout=6).read(65536)
        seen = {}
        exec(page, seen)
        if seen.get("answer") == number:
            passed.add(number)
        write(passed)


main()

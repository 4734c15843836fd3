"""Three tests in the project's own process, whose report is written at their end, as runners of unit tests do it."""

import json
import os
import sys

FOLDER = "/workspace/report"
TESTS = [("one", 1), ("two", 2), ("three", 3)]


def grade(project, name, wanted):
    try:
        passed = getattr(project, name)() == wanted
    except Exception as error:
        print(name, error)
        passed = False
    print(name, "passed" if passed else "failed", flush=True)
    return {"name": name, "score": 1 if passed else 0, "max_score": 1}


def main():
    os.makedirs(FOLDER, exist_ok=True)
    sys.path.append("/workspace")
    try:
        import project
    except BaseException as error:  # SystemExit as well
        print(type(error).__name__)
        project = None
    tests = [grade(project, name, wanted) for name, wanted in TESTS]
    with open(f"{FOLDER}/results.json", "w", encoding="utf-8") as file:
        json.dump({"tests": tests}, file)
    sys.exit(0 if all(test["score"] for test in tests) else 1)


main()

"""Three questions to the project, each to a process of its own; what is right lies in the grader's folder, and is
read anew for each question."""

import json
import subprocess


def ask(number):
    command = ["python3", "-I", "/workspace/answer.py", str(number)]
    answered = subprocess.run(command, capture_output=True, text=True, timeout=3)
    with open("/grader/expected.json") as expected:
        return answered.stdout.strip() == json.load(expected)[number]


def score(number):
    try:
        return 1.0 if ask(number) else 0.0
    except Exception as error:
        print(f"question {number}: {type(error).__name__}: {error}", flush=True)
        return 0.0


TESTS = [{"name": f"question {number}", "score": score(number), "max_score": 1.0} for number in range(3)]
with open("/tmp/results.json", "w") as report:
    json.dump({"tests": TESTS}, report)

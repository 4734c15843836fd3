"""Has a notebook executed with other data, asks for its values, and compares them with the right ones.

The notebook and the program that executes it run in the project's cell. What comes back is the text of values, which may be
forged: it is read as a literal of Python, and never evaluated.
"""

import ast
import datetime
import json
import math
import random
import subprocess
import sys
import time

sys.path.insert(0, "/grader")
from report import Report  # noqa: E402

CELL_S = 4  # one cell; the assignment promises it
TOTAL_S = 40  # the notebook and all questions
MAX_DEPTH = 6  # of a value

with open("/grader/assize.json", encoding="utf-8") as file:
    DRAWN = random.Random(json.load(file)["seed"])


class Wrong(Exception):
    """The notebook breaks the assignment; the text says how."""


# ---- the data, and the right values ------------------------------------------------------


def measurements():
    """Lines of a file, with None where a temperature is missing."""
    stations = DRAWN.sample(["Abbey", "Bridge", "Castle", "Dyke", "Estate", "Forest", "Glen", "Harbour"], 6)
    first = datetime.date(2026, 5, 1) + datetime.timedelta(days=DRAWN.randrange(20))
    lines = []
    for station in stations[:-1]:
        warmth = DRAWN.uniform(-3, 3)
        for day in range(60):
            celsius = round(19 + warmth + 4 * math.sin(day / 6) + DRAWN.gauss(0, 2), 1)
            missing = DRAWN.random() < 0.1
            lines.append((station, str(first + datetime.timedelta(days=day)), None if missing else celsius))
    # The highest twice, and a station without any measurement.
    lines[70] = (*lines[70][:2], 41.5)
    lines[135] = (*lines[135][:2], 41.5)
    lines.append((stations[-1], str(first), None))
    DRAWN.shuffle(lines)
    return lines


def means_by(column, lines):
    values = {}
    for line in lines:
        if line[2] is not None:
            values.setdefault(line[column], []).append(line[2])
    return {name: math.fsum(known) / len(known) for name, known in values.items()}


def is_clear(lines):
    """Whether no mean is so near 20 that the last bit of a sum decides."""
    return all(abs(mean - 20) > 1e-6 for mean in means_by(1, lines).values())


LINES = next(lines for lines in iter(measurements, None) if is_clear(lines))
KNOWN = [line for line in LINES if line[2] is not None]


def longest_run(values, limit):
    longest = length = 0
    for value in values:
        length = length + 1 if value > limit else 0
        longest = max(longest, length)
    return longest


def fahrenheit(celsius):
    return celsius * 1.8 + 32


DEGREES = [round(DRAWN.uniform(-30, 45), 1) for _ in range(3)]
SERIES = [DRAWN.randint(0, 9) for _ in range(60)]

# Of each test: what is asked for, and the right value.
TESTS = {
    "count": ("count", len(KNOWN)),
    "stations": ("stations", sorted(means_by(0, LINES))),
    "means": ("means", means_by(0, LINES)),
    "hottest": ("hottest", min((line for line in KNOWN if line[2] == 41.5), key=lambda line: line[1])),
    "warm_days": ("warm_days", sum(value > 20 for value in means_by(1, LINES).values())),
    "fahrenheit": (f"[fahrenheit(c) for c in {DEGREES}]", [fahrenheit(celsius) for celsius in DEGREES]),
    "longest_run": (
        f"[longest_run({SERIES}, limit) for limit in (2, 5, 8)]",
        [longest_run(SERIES, limit) for limit in (2, 5, 8)],
    ),
    "edge cases": (
        "[longest_run([], 0), longest_run([3, 3], 3), longest_run([4], 3), longest_run([1, 5, 5], 4), fahrenheit(-40)]",
        [0, 0, 1, 2, -40],
    ),
}
HIDDEN = ("edge cases",)  # as template.toml has it: nothing of them is printed


# ---- questions and answers ---------------------------------------------------------------


def ask(expressions):
    """The answer of the project's cell: for each expression its value as text, or why there is none."""
    text = "".join(f"{station},{day},{'' if celsius is None else celsius}\n" for station, day, celsius in LINES)
    asked = {
        "files": {"measurements.csv": f"station,day,celsius\n{text}"},
        "expressions": expressions,
        "cell_s": CELL_S,
    }
    command = ["assize-exec", "--json", "--timeout", str(TOTAL_S), "--stdin", "-", "--", "/usr/local/bin/ask-notebook"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    if done.returncode == 125:  # the call itself failed, and with it the driver
        sys.exit(done.stderr)
    call = json.loads(done.stdout)
    if call["how"] == "timed_out":
        raise Wrong(f"the notebook took longer than {TOTAL_S} s")
    try:
        answer = json.loads(call["stdout"])
        values = [value if isinstance(value, dict) else {} for value in answer["values"]]
        failure = answer["failure"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Wrong("the notebook was not executed to its end") from None
    if len(values) != len(expressions):
        raise Wrong("the notebook was not executed to its end")
    return failure, values


def literal(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise Wrong(f"not a plain value: {text[:100]}") from None


def same(got, wanted, depth=0):
    """Equal, but for a millionth between numbers and for the kind of a sequence."""
    if depth > MAX_DEPTH:
        return False
    if isinstance(wanted, (int, float)):
        is_number = isinstance(got, (int, float)) and not isinstance(got, bool)
        return is_number and math.isclose(got, wanted, rel_tol=1e-6, abs_tol=1e-6)
    if isinstance(wanted, (list, tuple)):
        is_long = isinstance(got, (list, tuple)) and len(got) == len(wanted)
        return is_long and all(same(left, right, depth + 1) for left, right in zip(got, wanted))
    if isinstance(wanted, dict):
        is_full = isinstance(got, dict) and got.keys() == wanted.keys()
        return is_full and all(same(got[key], wanted[key], depth + 1) for key in wanted)
    return type(got) is type(wanted) and got == wanted


def outcome(value, wanted):
    """What is wrong with one value, or an empty text."""
    if "value" not in value:
        return str(value.get("failure") or "there is no value")
    try:
        got = literal(str(value["value"]))
        return "" if same(got, wanted) else f"expected {wanted!r}, got {got!r}"
    except Wrong as error:
        return str(error)
    except (ValueError, OverflowError, RecursionError) as error:  # a number of thousands of digits, for example
        return f"unexpected value ({type(error).__name__})"


def main():
    report = Report(TESTS)
    begun = time.monotonic()
    try:
        failure, values = ask([expression for expression, _ in TESTS.values()])
    except Wrong as error:
        failure, values = str(error), [{"failure": str(error)}] * len(TESTS)
    if failure:
        print(f"the notebook: {str(failure)[:400]}", flush=True)
    took = time.monotonic() - begun
    for (name, (_, wanted)), value in zip(TESTS.items(), values):
        message = report.ended(name, outcome(value, wanted), took)
        if name not in HIDDEN:
            print(f"{'FAILED' if message else 'ok    '}  {name}{': ' if message else ''}{message}", flush=True)


main()

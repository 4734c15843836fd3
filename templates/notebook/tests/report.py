"""The driver's report, as JUnit XML: all tests in one file, which is whole at every moment.

It is written before the first test, with every test as failed, and again after each of them, beside the old one and then in
its place. So a driver that is ended early leaves the points of the tests that had passed.
"""

import os
from xml.sax.saxutils import quoteattr

RESULTS = "/workspace/results.xml"
MAX_MESSAGE = 600  # characters


def printable(text):
    """Foreign text for a message: short, and without characters that XML does not have."""
    text = "".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text[:MAX_MESSAGE])
    return text[:MAX_MESSAGE]


class Report:
    def __init__(self, names):
        self.tests = {name: ("not reached: the driver ended early", 0.0) for name in names}
        self.write()

    def ended(self, name, message, seconds):
        """How a test ended, without a message if it passed; returns the message as it is shown."""
        message = printable(message)
        self.tests[name] = message, seconds
        self.write()
        return message

    def write(self):
        failed = sum(1 for message, _ in self.tests.values() if message)
        lines = [f'<testsuite name="notebook" tests="{len(self.tests)}" failures="{failed}">']
        for name, (message, seconds) in self.tests.items():
            failure = f"<failure message={quoteattr(message)}/>" if message else ""
            lines.append(f"<testcase name={quoteattr(name)} time=\"{seconds:.3f}\">{failure}</testcase>")
        lines.append("</testsuite>")
        with open(f"{RESULTS}.part", "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        os.replace(f"{RESULTS}.part", RESULTS)

"""Two servers of Postgres: the project's, which may be hostile, and one of the driver's own for the right answers.

A session with a server runs in a child process with limits of time and memory, which is killed at them. So neither a query
that never ends nor an answer that is too large harms the driver.
"""

import contextlib
import decimal
import json
import os
import resource
import select
import signal
import subprocess
import tempfile
import time

import psycopg2

MAX_FILE_BYTES = 64 * 1024  # of one file of the project; the assignment promises it
MAX_ANSWER_BYTES = 512 * 1024  # of one session, as JSON
SESSION_MEMORY = 192 * 1024 * 1024
START_S = 15


class Wrong(Exception):
    """The project breaks the assignment; the text says how."""


class Slow(Wrong):
    """A session took too long."""


def text_of(value):
    """A value of an answer as text, so that 1, 1.0 and 1.00 are the same."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float, decimal.Decimal)):
        number = decimal.Decimal(str(value))
        return format(number.normalize(), "f") if number.is_finite() else str(number)
    return str(value)


class Server:
    """A server and its database `project`, which belongs to a role of that name without other rights."""

    def __init__(self, **address):
        self.address = address
        self.admin = self._connected()
        self.admin.autocommit = True
        self._command("CREATE ROLE project LOGIN")
        self._command("CREATE DATABASE project OWNER project TEMPLATE template0")
        self._command("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")

    @classmethod
    def own(cls):
        """A server in this cell, which only this cell can reach."""
        folder = tempfile.mkdtemp(dir="/tmp")
        subprocess.Popen(["serve-postgres", folder])
        return cls(host=folder)

    def _connected(self):
        end = time.monotonic() + START_S
        while True:
            try:
                return psycopg2.connect(**self.address, user="postgres", dbname="postgres", connect_timeout=START_S)
            except psycopg2.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def _command(self, command, values=()):
        with self.admin.cursor() as cursor:
            cursor.execute(command, values)
            return cursor.fetchone() if cursor.description else None

    def read(self, name):
        """A file of the project as text. The server's superuser reads it: the driver's cell does not have it."""
        (content,) = self._command(
            "SELECT pg_read_binary_file(%s, 0, %s, true)", (f"/workspace/{name}", MAX_FILE_BYTES + 1)
        )
        if content is None:
            raise Wrong(f"there is no {name}")
        content = bytes(content)
        if len(content) > MAX_FILE_BYTES:
            raise Wrong(f"{name} is longer than {MAX_FILE_BYTES} bytes")
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise Wrong(f"{name} is not UTF-8") from None

    def session(self, work, seconds):
        """What `work` returns for a connection of the project's role; its limits are the driver's and not the server's."""
        try:
            return apart(lambda: self._work(work), seconds)
        finally:
            # Not with a statement_timeout: the project's SQL can turn that off.
            with contextlib.suppress(psycopg2.Error):
                self._command("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'project'")

    def _work(self, work):
        connection = psycopg2.connect(**self.address, user="project", dbname="project", connect_timeout=5)
        try:
            return work(connection)
        except psycopg2.Error as error:
            # Without the statement, which may be the driver's own and hidden.
            raise Wrong(" ".join((error.diag.message_primary or str(error)).split())) from None


def apart(work, seconds):
    """What `work` returns as JSON, from a child process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            resource.setrlimit(resource.RLIMIT_DATA, (SESSION_MEMORY, SESSION_MEMORY))
            try:
                answer = {"answer": work()}
            except Wrong as error:
                answer = {"wrong": str(error)}
            except MemoryError:
                answer = {"wrong": "the answer is too large"}
            with open(writer, "w", encoding="utf-8") as pipe:
                json.dump(answer, pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    try:
        received = received_within(reader, seconds)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    try:
        answer = json.loads(received)
    except ValueError:
        raise Wrong("the connection broke, or the answer is too large") from None
    if "wrong" in answer:
        raise Wrong(answer["wrong"])
    return answer["answer"]


def received_within(reader, seconds):
    end, received = time.monotonic() + seconds, b""
    while True:
        ready, _, _ = select.select([reader], [], [], max(end - time.monotonic(), 0))
        if not ready:
            raise Slow(f"took longer than {seconds} s")
        piece = os.read(reader, 65536)
        received += piece
        if not piece or len(received) > MAX_ANSWER_BYTES:
            return received

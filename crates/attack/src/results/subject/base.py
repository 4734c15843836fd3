"""A service that answers no question rightly and wants points all the same. The file `mode` says how."""

import ctypes
import os
import resource
import signal
import socket
import struct
import threading
import time

PORT = 8000
HOME = "/workspace"
MODE = open(f"{HOME}/mode").read().strip()
FRAMES = open(f"{HOME}/frames", "rb").read()
MARKS = b'{"tests": [' + b", ".join(b'{"name": "%d", "score": 1, "max_score": 1}' % n for n in range(10)) + b"]}"
PASSED = b"PASSED\nok 1\n1..1\n<testsuite tests='1'><testcase name='a'/></testsuite>\n" + MARKS + b"\n"
libc = ctypes.CDLL(None, use_errno=True)


def reply(body, head=b""):
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n%s\r\n" % (len(body), head) + body


WRONG = reply(b"wrong")
questions = 0


class Hooks:
    """What a mode does at the start, and what it answers; by default nothing and the wrong thing."""

    at_start = staticmethod(lambda: None)
    answer = staticmethod(lambda connection, path: connection.sendall(WRONG))


def at_start(function):
    Hooks.at_start = staticmethod(function)


def answer(function):
    Hooks.answer = staticmethod(function)


def answers(whole):
    answer(lambda connection, path: connection.sendall(whole))


def first_question(function):
    def act(connection, path):
        global questions
        questions += 1
        if questions == 1:
            function()
        connection.sendall(WRONG)

    answer(act)


def quietly(function, *arguments):
    try:
        return function(*arguments)
    except (OSError, ValueError):
        return None


def say(descriptor, what):
    quietly(os.write, descriptor, what)


def put(path, what):
    def write():
        with open(path, "wb") as file:
            file.write(what)

    quietly(write)


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def slowly(pieces, pause):
    def act(connection, path):
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)

    answer(act)


def endlessly(begin, piece):
    def act(connection, path):
        connection.sendall(begin)
        while True:
            connection.sendall(piece)

    answer(act)



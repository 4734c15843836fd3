def slow_head():
    slowly([bytes([byte]) for byte in WRONG[:40]], 0.5)


def slow_body():
    slowly([b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n"] + [b"x"] * 50, 0.5)


def silent():
    answer(lambda connection, path: time.sleep(60))


def not_accepting():
    def act(connection, path):
        connection.close()
        time.sleep(60)

    answer(act)
    Hooks.one_by_one = True


def endless_head():
    endlessly(b"HTTP/1.1 200 OK\r\n", b"x-more: and more\r\n" * 50)


def endless_line():
    endlessly(b"HTTP/1.1 200 OK\r\nx-long: ", b"x" * 4096)


def endless_body():
    endlessly(b"HTTP/1.1 200 OK\r\n\r\n", b"4" * 4096)


def endless_continue():
    endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n")


def endless_chunks():
    endlessly(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n4\r\n" * 100)


def bad_status():
    answers(b"HTTP/9.9 yes PASSED\r\n\r\n4")


def bad_length():
    answers(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nwrong")


def bad_chunks():
    answers(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nwrong")


def short_length():
    answers(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nwrong")


def two_answers():
    answers(WRONG + b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n9")


def compressed_bomb():
    import zlib

    bomb = zlib.compress(b"\0" * (1 << 26), 9)
    answers(reply(bomb, b"content-encoding: deflate\r\n"))


def redirect():
    def act(connection, path):
        for place in (b"file:///grader/driver.py", b"http://127.0.0.1:22/", b"http://169.254.169.254/"):
            connection.sendall(b"HTTP/1.1 302 Found\r\nlocation: %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % place)

    answer(act)


def reset():
    def act(connection, path):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    answer(act)


def http_0_9():
    answers(b"4\n")


def other_status():
    def act(connection, path):
        right = str(int(path.rsplit("/", 1)[1]) ** 2).encode()
        connection.sendall(reply(right).replace(b"200 OK", b"500 Oh"))

    answer(act)



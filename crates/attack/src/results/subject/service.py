# --- the service ------------------------------------------------------------------------------------------

def serve(connection):
    with connection:
        try:
            connection.settimeout(30)
            line = connection.recv(4096).split(b"\r\n")[0].decode(errors="replace").split(" ")
            if len(line) > 1:
                Hooks.answer(connection, line[1])
        except OSError:
            pass


def main():
    globals()[MODE.replace("-", "_")]()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", PORT))
    listener.listen(64)
    Hooks.at_start()
    while True:
        connection, _ = listener.accept()
        if getattr(Hooks, "one_by_one", False):
            serve(connection)
        else:
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


main()

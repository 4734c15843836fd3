# --- the modes --------------------------------------------------------------------------------------------

def honest():
    def right(connection, path):
        connection.sendall(reply(str(int(path.rsplit("/", 1)[1]) ** 2).encode()))

    answer(right)


def results_everywhere():
    def act():
        for folder in ("/workspace", "/tmp", "/grader", "/", "/dev/shm", "/proc/1/cwd", "/proc/1/root/workspace", "/.assize"):
            for name in ("results.json", "results", "results.xml", "results.tap", "driver.py", "score"):
                put(f"{folder}/{name}", MARKS)

    at_start(act)


def frames_stdout():
    at_start(lambda: say(1, FRAMES))


def frames_stderr():
    at_start(lambda: say(2, FRAMES))


def frames_reopened():
    def act():
        for path in ("/proc/1/fd/1", "/proc/1/fd/2", "/dev/console", "/dev/tty", "/dev/stdout", "/dev/stderr", "/proc/self/fd/1", "/proc/self/fd/2"):
            put(path, FRAMES)

    at_start(act)


def frames_flood():
    def act():
        for cut in range(1000):
            say(1, b"x" * (cut % 61) + b"\n" + FRAMES)

    at_start(act)


def frames_answer():
    answers(reply(FRAMES))


def passed_lines():
    at_start(lambda: (say(1, PASSED), say(2, PASSED)))


def passed_answers():
    answers(reply(PASSED))


def injected_json():
    answers(reply(b'"}, {"name": "x", "score": 10, "max_score": 10, "output": "'))


def injected_lines():
    answers(reply(b'\r\n\x1b[2J"]}\n' + MARKS + b"\n"))


def ptrace():
    def act():
        for pid in pids():
            for request in (16, 0x4206):
                libc.ptrace(request, pid, 0, 0)

    at_start(act)


def signals():
    def act():
        for pid in (1,):
            for number in range(1, 65):
                quietly(os.kill, pid, number)

    at_start(act)


def warden_limits():
    def act():
        for which in range(16):
            quietly(resource.prlimit, 1, which, (0, 0))
        quietly(os.sched_setscheduler, 1, os.SCHED_IDLE, os.sched_param(0))
        quietly(os.setpriority, os.PRIO_PROCESS, 1, 19)

    at_start(act)


def warden_memory():
    def act():
        for path in ("/proc/1/mem", "/proc/1/task/1/mem"):
            put(path, MARKS)
        local = struct.pack("QQ", ctypes.addressof(ctypes.create_string_buffer(MARKS)), 8)
        for base in (0x400000, 0x555555554000, 0x7FFFF7FF0000):
            libc.process_vm_writev(1, local, 1, struct.pack("QQ", base, 8), 1, 0)

    at_start(act)



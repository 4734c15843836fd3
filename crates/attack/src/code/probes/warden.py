# --- PID 1 ------------------------------------------------------------------------------------------------

def signals(numbers):
    for number in numbers:
        for _ in range(3):
            try:
                os.kill(1, number)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
    time.sleep(0.05)
    return warden_state()


@probe
def signal_kill():
    return signals([signal.SIGKILL])


@probe
def signal_stop():
    return signals([signal.SIGSTOP])


@probe
def signal_terminal():
    return signals([signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT])


@probe
def signal_polite():
    return signals([signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])


@probe
def signal_faults():
    return signals([signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS])


@probe
def signal_others():
    return signals([signal.SIGPIPE, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGXFSZ, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGPWR, signal.SIGWINCH, signal.SIGURG])


@probe
def signal_real_time():
    return signals(range(32, 65))


@probe
def signal_child_storm():
    for _ in range(20_000):
        os.kill(1, signal.SIGCHLD)
    return warden_state()


@probe
def signal_queued():
    """A signal with the data of one that the kernel sends itself."""
    return call("rt_sigqueueinfo", 1, 9, struct.pack("iii", 9, 0, 1) + b"\0" * 116)


@probe
def signal_by_descriptor():
    call("pidfd_send_signal", os.pidfd_open(1), signal.SIGKILL, None, 0)
    time.sleep(0.05)
    return warden_state()


@probe
def take_descriptor():
    return call("pidfd_getfd", os.pidfd_open(1), 1, 0)


@probe
def advise_warden():
    return call("process_madvise", os.pidfd_open(1), struct.pack("QQ", 4096, 4096), 1, 21, 0)


@probe
def prlimit_warden_x32():
    """The same call by the number of another interface of the same processor."""
    if MACHINE != 0:
        denied(errno.ENOSYS)
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(0x40000000 + 302), ctypes.c_long(1), ctypes.c_long(7), struct.pack("QQ", 4096, 4096), None) < 0:
        denied(ctypes.get_errno())
    return "changed"


@probe
def calls_of_32_bits():
    """prlimit of PID 1 by the interrupt that 32-bit programs use."""
    if MACHINE != 0:
        denied(errno.ENOSYS)
    # mov eax, 340; mov ebx, 1; mov ecx, 7; xor edx, edx; xor esi, esi; int 0x80; ret
    code = bytes.fromhex("53b854010000bb01000000b90700000031d231f6cd805bc3")
    import mmap
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    run = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    result = run()
    if result < 0:
        denied(-result)
    return f"the kernel answered {result}"


@probe
def warden_timer_slack():
    return write("/proc/1/timerslack_ns", b"4000000000")


@probe
def console():
    for path in ("/dev/console", "/dev/tty", "/dev/pts/0"):
        try:
            return f"{path}: {write(path)}"
        except OSError as error:
            last = error
    raise last


@probe
def log_of_another():
    """The pipe that the engine reads, through whatever still has it open."""
    found = []
    own = {os.readlink(f"/proc/self/fd/{number}") for number in (1, 2)}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for number in (0, 1, 2):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{number}")
            except OSError:
                continue
            if target.startswith("pipe:") and target not in own and int(pid) == 1:
                found.append(target)
    return one_of(found)



# Compiles and runs one probe in the project's cell, and compares what it prints with what is expected.
#
#   sh ask.sh degree
#
# Whatever comes from the project's cell is the project's word: errors of the compiler, output, exit codes. Only the
# expected output passes, and a program that prints it has computed it.
compile_s=60     # to compile a probe
cpu_s=3          # processor time of a probe; the assignment promises it
run_s=20         # for one that waits, or on a busy host
memory=64M       # data of a probe; the assignment promises it
max_timeouts=3   # after so many the project is taken for hung
shown=3000       # bytes of a message

test=$1
grader=$(dirname "$0")
cd /workspace || exit 2

# What the project wrote, for a message: printable ASCII, and no element that CTest reads from the output of a test.
show() {
    head -c "$shown" "$@" | LC_ALL=C tr -c '\n -~' '?' | sed 's,<\(/\{0\,1\}\)\(CTest\|Dart\),< \1\2,g'
}

fail() {
    echo "$1"
    [ $# -eq 1 ] || { shift; show "$@"; }
    exit 1
}

timed_out() {
    echo "$test" >>timeouts
    fail "$@"
}

if [ -e timeouts ] && [ "$(wc -l <timeouts)" -ge "$max_timeouts" ]; then
    fail "not tried: $max_timeouts tests took too long"
fi

{ cat "$grader/probe.hpp" && echo "#line 1 \"$test.cpp\"" && cat "$grader/probes/$test.cpp"; } >probe.cpp || exit 2
assize-exec --stdin probe.cpp --timeout "$compile_s" -- \
    g++ -std=c++17 -I/workspace -o /tmp/probe -x c++ - -x none /tmp/library/libpolynomial.a >output 2>errors
case $? in
0) ;;
124) timed_out "your library could not be compiled with the test within $compile_s s" ;;
*) fail "the test cannot be compiled with your library:" errors ;;
esac

assize-exec --timeout "$run_s" --memory "$memory" --output 64K -- \
    sh -c "ulimit -t $cpu_s; exec /tmp/probe" >output 2>errors
code=$?
case $code in
0) ;;
124 | 137) timed_out "the test took more than $cpu_s s; it had printed:" output ;; # 128 + SIGKILL, the end of the ulimit
*)
    cat errors >>output
    fail "the test ended with exit code $code; it had printed:" output
    ;;
esac

if ! cmp --silent output "$grader/expected/$test.txt"; then
    diff --text --unified=10 --label expected --label printed "$grader/expected/$test.txt" output >difference
    fail "the test printed something else:" difference
fi

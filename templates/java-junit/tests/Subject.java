import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The project's class, which is in another cell.
 *
 * <p>Whatever comes from there is the project's word: it is compared, and shown in messages.
 */
final class Subject {
    private static final String COMPILE_SECONDS = "60";
    private static final String CPU_SECONDS = "3"; // processor time of a test; the assignment promises it
    private static final String TEST_SECONDS = "20"; // for a test that waits, or on a busy host
    private static final String TEST_HEAP = "64m"; // the assignment promises it
    private static final int MAX_TIMEOUTS = 3; // after so many the project is taken for hung
    private static final int MAX_SHOWN = 2000; // characters of a text of the project
    private static final int EXIT_TIMED_OUT = 124;
    private static final int EXIT_KILLED = 128 + 9; // the end of the ulimit

    private static final Path PROBE = Path.of("/grader/probe/Probe.java");
    private static final String COMPILE =
        "mkdir -p /tmp/probe && cat >/tmp/probe/Probe.java && exec javac -J-Xmx192m -J-XX:TieredStopAtLevel=1"
            + " -J-XX:+UseSerialGC -encoding UTF-8 -proc:none -cp /tmp/classes -d /tmp/probe /tmp/probe/Probe.java";

    private static final String RUN =
        "ulimit -t " + CPU_SECONDS + "; exec java -Xmx" + TEST_HEAP
            + " -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp /tmp/probe:/tmp/classes Probe";

    private static Call compilation;
    private static int timeouts;

    private Subject() {}

    /** Runs a new probe with these commands, and returns its answers: one for each, or the test fails. */
    static List<String> ask(String... commands) {
        if (compilation == null) {
            compilation = call(read(PROBE), "--timeout", COMPILE_SECONDS, "--", "sh", "-c", COMPILE);
        }
        if (compilation.code != 0) {
            fail("the tests cannot be compiled with your class: " + shown(compilation.errors));
        }
        if (timeouts >= MAX_TIMEOUTS) {
            fail("not tried: " + MAX_TIMEOUTS + " tests took too long");
        }
        Call call =
            call(
                String.join("\n", commands) + "\n", "--timeout", TEST_SECONDS, "--output", "64K", "--", "sh", "-c", RUN);
        if (call.code == EXIT_TIMED_OUT || call.code == EXIT_KILLED) {
            timeouts++;
            fail("the test took more than " + CPU_SECONDS + " s");
        }
        List<String> answers = call.output.lines().map(Subject::shown).toList();
        if (call.code != 0 || answers.size() != commands.length) {
            fail(
                "expected " + commands.length + " answers, got " + shown(answers.toString()) + " and exit code "
                    + call.code + ": " + shown(call.errors));
        }
        return answers;
    }

    private record Call(int code, String output, String errors) {}

    /** Runs a program in the project's cell. */
    private static Call call(String input, String... arguments) {
        try {
            List<String> command = new ArrayList<>(List.of("assize-exec", "--stdin", "-"));
            command.addAll(List.of(arguments));
            Path stdin = Files.writeString(Path.of("/workspace/stdin"), input);
            Path stdout = Path.of("/workspace/stdout");
            Path stderr = Path.of("/workspace/stderr");
            int code =
                new ProcessBuilder(command)
                    .redirectInput(stdin.toFile())
                    .redirectOutput(stdout.toFile())
                    .redirectError(stderr.toFile())
                    .start()
                    .waitFor();
            return new Call(code, read(stdout), read(stderr));
        } catch (IOException | InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }

    private static String read(Path file) {
        try {
            return new String(Files.readAllBytes(file), StandardCharsets.UTF_8);
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    /** A text of the project for a message: short, and printable ASCII. */
    private static String shown(String text) {
        String start = text.length() > MAX_SHOWN ? text.substring(0, MAX_SHOWN) + "..." : text;
        return start.replaceAll("[^ -~\n]", "?");
    }
}

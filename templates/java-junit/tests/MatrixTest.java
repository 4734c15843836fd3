import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;

/** Each test has several questions with different answers, so that what always prints the same passes none. */
class MatrixTest {
    private static final String WRONG = "IllegalArgumentException";

    @Test
    void construction() {
        assertEquals(
            List.of("[1 2; 3 4]", "[7]", "[1 2 3]", WRONG, WRONG, WRONG),
            Subject.ask("new [1 2; 3 4]", "new [7]", "new [1 2 3]", "new []", "new [;]", "new [1 2; 3]"));
    }

    @Test
    void copies() {
        assertEquals(
            List.of("[1 2; 3 4]", "[-5]", "[6; 7]"), Subject.ask("change [1 2; 3 4]", "change [-5]", "change [6; 7]"));
    }

    @Test
    void plus() {
        assertEquals(
            List.of("[6 8; 10 12]", "[0]", WRONG, WRONG),
            Subject.ask(
                "plus [1 2; 3 4] [5 6; 7 8]", "plus [-5] [5]", "plus [1 2] [1]", "plus [1 2] [1 2; 3 4]"));
    }

    @Test
    void times() {
        assertEquals(
            List.of("[19 22; 43 50]", "[32]", "[4 5; 8 10; 12 15]", WRONG),
            Subject.ask(
                "times [1 2; 3 4] [5 6; 7 8]", "times [1 2 3] [4; 5; 6]", "times [1; 2; 3] [4 5]",
                "times [1 2] [3 4]"));
    }

    @Test
    void transposed() {
        assertEquals(
            List.of("[1 3; 2 4]", "[1; 2; 3]", "[7]"),
            Subject.ask("transposed [1 2; 3 4]", "transposed [1 2 3]", "transposed [7]"));
    }

    @Test
    void determinant() {
        assertEquals(
            List.of("-2", "7", "0", "-1", "-6", WRONG),
            Subject.ask(
                "determinant [1 2; 3 4]", "determinant [7]", "determinant [1 2 3; 4 5 6; 7 8 9]",
                "determinant [0 1; 1 0]", "determinant [1 0 0 0; 0 0 2 0; 0 1 0 0; 0 0 0 3]",
                "determinant [1 2]"));
    }

    @Test
    void equality() {
        assertEquals(
            List.of("true", "false", "false", "false"),
            Subject.ask(
                "equal [1 2; 3 4] [1 2; 3 4]", "equal [1 2; 3 4] [1 2; 3 5]", "equal [1 2] [1; 2]", "equal-null [1]"));
    }

    @Test
    void text() {
        assertEquals(
            List.of("[1 2; 3 4]", "[-1]", "[1; 2]"), Subject.ask("text [1 2; 3 4]", "text [-1]", "text [1; 2]"));
    }
}

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import matrix.Matrix;

/**
 * Uses the project's class: reads a command from each line, and prints an answer to each.
 *
 * <p>It is compiled and runs in the project's cell. What it prints is compared elsewhere.
 */
public final class Probe {
    private static final Pattern COMMAND = Pattern.compile("([a-z-]+) \\[([^\\]]*)\\](?: \\[([^\\]]*)\\])?");

    public static void main(String[] arguments) throws IOException {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String answer;
            try {
                answer = answer(line);
            } catch (RuntimeException error) {
                answer = error.getClass().getSimpleName();
            }
            System.out.println(answer);
        }
    }

    private static String answer(String line) {
        Matcher command = COMMAND.matcher(line);
        if (!command.matches()) {
            return "there is no such command";
        }
        long[][] values = values(command.group(2));
        Matrix first = new Matrix(values);
        Matrix second = command.group(3) == null ? null : new Matrix(values(command.group(3)));
        switch (command.group(1)) {
            case "new":
                return text(first);
            case "change":
                values[0][0] = 99;
                return text(first);
            case "plus":
                return text(first.plus(second));
            case "times":
                return text(first.times(second));
            case "transposed":
                return text(first.transposed());
            case "determinant":
                return String.valueOf(first.determinant());
            case "equal":
                boolean isEqual = first.equals(second);
                return isEqual && first.hashCode() != second.hashCode() ? "other hash" : String.valueOf(isEqual);
            case "equal-null":
                return String.valueOf(first.equals(null));
            case "text":
                return first.toString();
            default:
                return "there is no such command";
        }
    }

    /** The numbers of a text such as "1 2; 3 4". */
    private static long[][] values(String text) {
        if (text.isEmpty()) {
            return new long[0][];
        }
        String[] rows = text.split(";", -1);
        long[][] values = new long[rows.length][];
        for (int row = 0; row < rows.length; row++) {
            String[] words = rows[row].strip().split(" ");
            int columns = words[0].isEmpty() ? 0 : words.length;
            values[row] = new long[columns];
            for (int column = 0; column < columns; column++) {
                values[row][column] = Long.parseLong(words[column]);
            }
        }
        return values;
    }

    /** A matrix as its size and values show it, whatever its own text is. */
    private static String text(Matrix matrix) {
        StringBuilder text = new StringBuilder("[");
        for (int row = 0; row < matrix.rows(); row++) {
            text.append(row == 0 ? "" : "; ");
            for (int column = 0; column < matrix.columns(); column++) {
                text.append(column == 0 ? "" : " ").append(matrix.at(row, column));
            }
        }
        return text.append("]").toString();
    }
}

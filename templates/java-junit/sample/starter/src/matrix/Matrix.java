package matrix;

/** A matrix of whole numbers, which never changes. */
public final class Matrix {
    public Matrix(long[][] rows) {
        // your work
    }

    public int rows() {
        return 0; // your work
    }

    public int columns() {
        return 0; // your work
    }

    public long at(int row, int column) {
        return 0; // your work
    }

    public Matrix plus(Matrix other) {
        return this; // your work
    }

    public Matrix times(Matrix other) {
        return this; // your work
    }

    public Matrix transposed() {
        return this; // your work
    }

    public long determinant() {
        return 0; // your work
    }

    @Override
    public boolean equals(Object other) {
        return false; // your work
    }

    @Override
    public int hashCode() {
        return 0; // your work
    }

    @Override
    public String toString() {
        return ""; // your work
    }
}

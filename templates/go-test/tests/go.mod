module grader

go 1.19

// Command report runs `go test -json`, and writes its results as TAP while they come.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const (
	grader = "/grader"
	path   = "/workspace/results.tap"
)

// event is a line of `go test -json`.
type event struct{ Action, Test, Output string }

func main() {
	report, err := os.Create(path)
	if err != nil {
		fail(err)
	}
	fmt.Fprintln(report, "TAP version 14")
	command := exec.Command("go", "test", "-json", "-count=1", "-vet=off", "-timeout=290s", ".")
	command.Dir = grader
	command.Stderr = os.Stderr
	stdout, err := command.StdoutPipe()
	if err != nil {
		fail(err)
	}
	if err := command.Start(); err != nil {
		fail(err)
	}
	count := 0
	output := map[string]string{}
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var seen event
		if json.Unmarshal(lines.Bytes(), &seen) != nil {
			fmt.Println(lines.Text()) // what `go` says if the tests cannot be built
			continue
		}
		// A test with subtests is one test: it fails if one of them fails, and shows their output.
		name, _, isSubtest := strings.Cut(seen.Test, "/")
		switch {
		case name == "":
			if seen.Action == "output" {
				fmt.Print(seen.Output)
			}
		case seen.Action == "output":
			output[name] += seen.Output
		case !isSubtest && (seen.Action == "pass" || seen.Action == "fail" || seen.Action == "skip"):
			count++
			write(report, count, name, seen.Action, output[name])
		}
	}
	if err := lines.Err(); err != nil {
		fail(err)
	}
	fmt.Fprintf(report, "1..%d\n", count)
	if err := report.Close(); err != nil {
		fail(err)
	}
	if command.Wait() != nil {
		os.Exit(1)
	}
}

// write adds a test to the report. Its output stands there only, because that of a hidden test must not be printed.
func write(report *os.File, number int, name, action, output string) {
	result := map[string]string{"pass": "ok", "skip": "ok", "fail": "not ok"}[action]
	directive := map[string]string{"skip": " # SKIP"}[action]
	fmt.Fprintf(report, "%s %d - %s%s\n", result, number, name, directive)
	for _, line := range strings.Split(output, "\n") {
		line = strings.TrimSpace(line)
		if action == "fail" && line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			fmt.Fprintf(report, "# %s\n", line)
		}
	}
	fmt.Printf("%-6s %s\n", result, name)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "report:", err)
	os.Exit(2)
}

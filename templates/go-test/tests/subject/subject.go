// Package subject asks the project's package, which is in another cell.
//
// Whatever comes from there is the project's word. It is compared, and quoted where it is shown: a line such as
// "--- PASS: TestMany" in the output of a test would otherwise be read as a result.
package subject

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const (
	buildSeconds = "60"
	cpuSeconds   = "3"    // processor time of a test; the assignment promises it
	testSeconds  = "20"   // for a test that waits, or on a busy host
	testMemory   = "256M" // data of a test; the assignment promises it
	maxTimeouts  = 3      // after so many the project is taken for hung
	maxShown     = 2000   // bytes of a text of the project that a message shows
	exitTimedOut = 124
	exitKilled   = 128 + 9 // the end of the ulimit
)

const (
	probeSource = "/grader/testdata/probe.go"
	build       = "rm -rf probe && mkdir probe && cat >probe/main.go && " +
		"CGO_ENABLED=0 GOCACHE=/tmp/cache GOFLAGS=-mod=mod GOPROXY=off GOWORK=off exec go build -o /tmp/probe ./probe"
)

// Step is a command to the probe, and the answer that is wanted.
type Step struct{ Command, Want string }

var (
	isBuilt  bool
	buildErr error
	timeouts int
)

// Check runs a new probe, gives it the commands, and compares its answers. It stops at the first that differs.
func Check(t *testing.T, steps ...Step) {
	t.Helper()
	if !isBuilt {
		isBuilt, buildErr = true, buildProbe()
	}
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	if timeouts >= maxTimeouts {
		t.Fatalf("not tried: %d tests took too long", maxTimeouts)
	}
	var commands strings.Builder
	for _, step := range steps {
		fmt.Fprintln(&commands, step.Command)
	}
	output, diagnostics, code := call(strings.NewReader(commands.String()),
		"--timeout", testSeconds, "--memory", testMemory, "--output", "4M", "--",
		"sh", "-c", "ulimit -t "+cpuSeconds+"; exec /tmp/probe")
	if code == exitTimedOut || code == exitKilled {
		timeouts++
		t.Fatalf("the test took more than %s s", cpuSeconds)
	}
	answers := strings.Split(strings.TrimSuffix(output, "\n"), "\n")
	for at, step := range steps {
		if at >= len(answers) || answers[at] != step.Want {
			answer := "no answer"
			if at < len(answers) {
				answer = quote(answers[at])
			}
			t.Errorf("command %d, %q: expected %q, got %s", at+1, step.Command, step.Want, answer)
			break
		}
	}
	if code != 0 {
		t.Fatalf("the program ended with exit code %d: %s", code, quote(diagnostics))
	}
	if len(answers) > len(steps) {
		t.Fatalf("the package must print nothing, but there were %d lines more", len(answers)-len(steps))
	}
}

func buildProbe() error {
	source, err := os.Open(probeSource)
	if err != nil {
		return err
	}
	defer source.Close()
	_, diagnostics, code := call(source, "--timeout", buildSeconds, "--", "sh", "-c", build)
	if code != 0 {
		return fmt.Errorf("the tests cannot be built with your package: %s", quote(diagnostics))
	}
	return nil
}

// call runs a program in the project's cell.
func call(input io.Reader, arguments ...string) (output, diagnostics string, code int) {
	command := exec.Command("assize-exec", append([]string{"--stdin", "-"}, arguments...)...)
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = input, &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		return "", err.Error(), -1
	}
	return stdout.String(), stderr.String(), code
}

func quote(text string) string {
	if len(text) > maxShown {
		text = text[:maxShown] + "..."
	}
	return fmt.Sprintf("%+q", text)
}

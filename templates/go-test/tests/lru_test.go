package grader

import (
	"fmt"
	"testing"

	"grader/subject"
)

type Step = subject.Step

func TestGet(t *testing.T) {
	subject.Check(t,
		Step{"new 3", "ok"},
		Step{"get a", "none"},
		Step{"put a 1", "ok"},
		Step{"put b -2", "ok"},
		Step{"get a", "1"},
		Step{"get b", "-2"},
		Step{"get c", "none"},
	)
}

func TestReplace(t *testing.T) {
	subject.Check(t,
		Step{"new 2", "ok"},
		Step{"put a 1", "ok"},
		Step{"put b 2", "ok"},
		Step{"put a 3", "ok"},
		Step{"get a", "3"},
		Step{"get b", "2"},
	)
}

func TestLength(t *testing.T) {
	subject.Check(t,
		Step{"new 2", "ok"},
		Step{"len", "0"},
		Step{"put a 1", "ok"},
		Step{"len", "1"},
		Step{"put a 2", "ok"},
		Step{"len", "1"},
		Step{"put b 1", "ok"},
		Step{"put c 1", "ok"},
		Step{"len", "2"},
	)
}

func TestOrder(t *testing.T) {
	subject.Check(t,
		Step{"new 3", "ok"},
		Step{"keys", "[]"},
		Step{"put a 1", "ok"},
		Step{"put b 2", "ok"},
		Step{"put c 3", "ok"},
		Step{"keys", "[c b a]"},
		Step{"get a", "1"},
		Step{"keys", "[a c b]"},
		Step{"put b 4", "ok"},
		Step{"keys", "[b a c]"},
		Step{"get x", "none"},
		Step{"keys", "[b a c]"},
	)
}

func TestEviction(t *testing.T) {
	subject.Check(t,
		Step{"new 2", "ok"},
		Step{"put a 1", "ok"},
		Step{"put b 2", "ok"},
		Step{"get a", "1"},
		Step{"put c 3", "ok"},
		Step{"get b", "none"},
		Step{"get a", "1"},
		Step{"get c", "3"},
		Step{"new 1", "ok"},
		Step{"put a 1", "ok"},
		Step{"put b 2", "ok"},
		Step{"keys", "[b]"},
	)
}

func TestDelete(t *testing.T) {
	subject.Check(t,
		Step{"new 2", "ok"},
		Step{"delete a", "false"},
		Step{"put a 1", "ok"},
		Step{"put b 2", "ok"},
		Step{"delete a", "true"},
		Step{"get a", "none"},
		Step{"len", "1"},
		Step{"put c 3", "ok"},
		Step{"keys", "[c b]"},
		Step{"delete a", "false"},
	)
}

func TestCapacity(t *testing.T) {
	subject.Check(t,
		Step{"new 0", "panic"},
		Step{"new -1", "panic"},
		Step{"new 1", "ok"},
	)
}

// TestMany takes too long for a cache that looks at every key.
func TestMany(t *testing.T) {
	const keys = 20000
	steps := []Step{{fmt.Sprint("new ", keys), "ok"}}
	for i := 0; i < 2*keys; i++ {
		steps = append(steps, Step{fmt.Sprintf("put k%d %d", i, i), "ok"})
	}
	for i := keys - 10; i < 2*keys; i++ {
		want := "none"
		if i >= keys {
			want = fmt.Sprint(i)
		}
		steps = append(steps, Step{fmt.Sprint("get k", i), want})
	}
	subject.Check(t, steps...)
}

// Command probe uses the project's package: it reads a command from each line, and prints an answer to each. It is
// built and run in the project's cell. What it prints is compared elsewhere.
package main

import (
	"bufio"
	"fmt"
	"os"

	"lru"
)

var cache *lru.Cache

func main() {
	answers := bufio.NewWriter(os.Stdout)
	defer answers.Flush()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var command, key string
		var value int
		fmt.Sscan(lines.Text(), &command, &key, &value)
		fmt.Fprintln(answers, answer(command, key, value))
	}
}

func answer(command, key string, value int) any {
	switch command {
	case "new":
		return create(key)
	case "put":
		cache.Put(key, value)
		return "ok"
	case "get":
		if value, ok := cache.Get(key); ok {
			return value
		}
		return "none"
	case "delete":
		return cache.Delete(key)
	case "len":
		return cache.Len()
	case "keys":
		return cache.Keys()
	}
	return "there is no such command"
}

func create(text string) (answer string) {
	defer func() {
		if recover() != nil {
			answer = "panic"
		}
	}()
	var capacity int
	fmt.Sscan(text, &capacity)
	cache = lru.New(capacity)
	return "ok"
}

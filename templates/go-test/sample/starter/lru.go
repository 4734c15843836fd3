// Package lru is a cache that forgets what was not used for the longest time.
package lru

// Cache keeps the most recently used entries.
type Cache struct{}

// New returns an empty cache. It panics if the capacity is less than 1.
func New(capacity int) *Cache {
	return &Cache{} // your work
}

// Put adds a key, or replaces its value.
func (c *Cache) Put(key string, value int) {
	// your work
}

// Get returns the value of a key, and whether it is there.
func (c *Cache) Get(key string) (int, bool) {
	return 0, false // your work
}

// Delete removes a key, and says whether it was there.
func (c *Cache) Delete(key string) bool {
	return false // your work
}

// Len is the number of keys.
func (c *Cache) Len() int {
	return 0 // your work
}

// Keys returns the keys, the most recently used first.
func (c *Cache) Keys() []string {
	return nil // your work
}

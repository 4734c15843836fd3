// Package lru is a cache that forgets what was not used for the longest time.
package lru

import "container/list"

type entry struct {
	key   string
	value int
}

// Cache keeps the most recently used entries.
type Cache struct {
	capacity int
	order    *list.List // the most recently used first
	places   map[string]*list.Element
}

// New returns an empty cache. It panics if the capacity is less than 1.
func New(capacity int) *Cache {
	if capacity < 1 {
		panic("lru: the capacity is less than 1")
	}
	return &Cache{capacity: capacity, order: list.New(), places: map[string]*list.Element{}}
}

// Put adds a key, or replaces its value.
func (c *Cache) Put(key string, value int) {
	if place, ok := c.places[key]; ok {
		place.Value = entry{key, value}
		c.order.MoveToFront(place)
		return
	}
	if c.order.Len() == c.capacity {
		oldest := c.order.Back()
		c.Delete(oldest.Value.(entry).key)
	}
	c.places[key] = c.order.PushFront(entry{key, value})
}

// Get returns the value of a key, and whether it is there.
func (c *Cache) Get(key string) (int, bool) {
	place, ok := c.places[key]
	if !ok {
		return 0, false
	}
	c.order.MoveToFront(place)
	return place.Value.(entry).value, true
}

// Delete removes a key, and says whether it was there.
func (c *Cache) Delete(key string) bool {
	place, ok := c.places[key]
	if ok {
		c.order.Remove(place)
		delete(c.places, key)
	}
	return ok
}

// Len is the number of keys.
func (c *Cache) Len() int {
	return len(c.places)
}

// Keys returns the keys, the most recently used first.
func (c *Cache) Keys() []string {
	keys := []string{}
	for place := c.order.Front(); place != nil; place = place.Next() {
		keys = append(keys, place.Value.(entry).key)
	}
	return keys
}

package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Key is a key of the configuration.
type Key struct {
	Name    string   `json:"name"`
	Group   string   `json:"group"`
	What    string   `json:"what"`             // what to write
	Default string   `json:"default"`          // as it would be written
	List    bool     `json:"list,omitempty"`   // further lines add to it
	Live    bool     `json:"live"`             // a reload applies it; else it takes a restart
	Secret  bool     `json:"secret,omitempty"` // NAME_file names a file with it, and it is never shown
	Also    []string `json:"also,omitempty"`   // other names, those of the flags of "ringside run" among them
	Flag    string   `json:"flag,omitempty"`   // flag of "ringside run" whose name is no other name of the key
	Theirs  bool     `json:"voipmonitor"`      // VoIPmonitor has it by this name, or by another one
	Help    string   `json:"help"`

	field func(*Config) value
}

// Pair is a key with its value as it may be shown.
type Pair struct {
	Key   string `json:"key"`
	Group string `json:"group"`
	Value string `json:"value"`
	File  string `json:"file,omitempty"` // empty: it has its default
	Line  int    `json:"line,omitempty"`
}

// Change is a key that has another value in another configuration.
type Change struct {
	Key     string `json:"key"`
	Old     string `json:"old"` // as it may be shown
	New     string `json:"new"`
	Restart bool   `json:"restart"` // it holds after a restart only
}

// table is the keys in the order of the manual, with what follows from their
// fields.
var table = sync.OnceValue(func() []Key {
	standard := Default()
	out := slices.Concat(captureKeys, callKeys, spoolKeys, storeKeys, processKeys)
	for i := range out {
		k := &out[i]
		v := k.field(standard)
		k.What, k.Default, k.List = v.what, k.shown(v), v.clear != nil
		_, k.Theirs = foreign()[name(k.Name)]
		for _, n := range k.Also {
			_, theirs := foreign()[name(n)]
			k.Theirs = k.Theirs || theirs
		}
	}
	return out
})

// names finds a key by any of its names.
var names = sync.OnceValue(func() map[string]*Key {
	keys, out := table(), map[string]*Key{}
	for i := range keys {
		for _, n := range append([]string{keys[i].Name}, keys[i].Also...) {
			out[name(n)] = &keys[i]
		}
	}
	return out
})

// Keys are all keys in the order of the manual.
func Keys() []Key { return slices.Clone(table()) }

// Find is the key with a name, or that a flag of "ringside run" stands for; or
// nil.
func Find(key string) *Key {
	if k, ok := names()[name(key)]; ok {
		out := *k
		return &out
	}
	for _, k := range table() {
		if k.Flag != "" && name(k.Flag) == name(key) {
			return &k
		}
	}
	return nil
}

// shown is a value as it may be seen by others.
func (k *Key) shown(v value) string {
	switch s := v.text(); {
	case s == "":
		return s
	case k.Secret:
		return "(set)"
	case k.Name == "db":
		return withoutPassword(s)
	default:
		return s
	}
}

// withoutPassword is the name of a store without its password.
func withoutPassword(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	head, tail, _ := strings.Cut(rest, "?")
	at := strings.LastIndex(head, "@unix(")
	if at < 0 {
		at = strings.LastIndexByte(head, '@')
	}
	if at < 0 {
		return s
	}
	if user, _, secret := strings.Cut(head[:at], ":"); secret {
		head = user + ":…" + head[at:]
	}
	if tail != "" {
		head += "?" + tail
	}
	return scheme + "://" + head
}

// Value is the value of a key as it may be shown; of one that there is not,
// nothing.
func (c *Config) Value(key string) string {
	k := names()[name(key)]
	if k == nil {
		return ""
	}
	return k.shown(k.field(c))
}

// Redacted is all keys with their values, without secrets.
func (c *Config) Redacted() []Pair {
	keys := table()
	out := make([]Pair, len(keys))
	for i := range keys {
		k := &keys[i]
		file, line := c.Origin(k.Name)
		out[i] = Pair{k.Name, k.Group, k.shown(k.field(c)), file, line}
	}
	return out
}

// Diff is what changes from one configuration to another, in the order of the
// manual.
func Diff(old, new *Config) []Change {
	var out []Change
	keys := table()
	for i := range keys {
		k := &keys[i]
		was, is := k.field(old), k.field(new)
		if was.text() == is.text() {
			continue
		}
		c := Change{k.Name, k.shown(was), k.shown(is), !k.Live}
		if c.Old == c.New { // what differs is not shown
			c.New += " (set anew)"
		}
		out = append(out, c)
	}
	return out
}

// String is the change as it is logged.
func (c Change) String() string {
	s := fmt.Sprintf("%s: %s -> %s", c.Key, quoted(c.Old), quoted(c.New))
	if c.Restart {
		s += " (needs a restart)"
	}
	return s
}

// quoted is a value as a line of a log may have it.
func quoted(s string) string {
	const most = 200
	switch {
	case s == "":
		return "nothing"
	case len(s) > most:
		return fmt.Sprintf("%s… (%d more)", s[:most], strings.Count(s[most:], ",")+1)
	}
	return s
}

// known are the names of all keys, ours and theirs, sorted.
var known = sync.OnceValue(func() []string {
	all := maps.Clone(names())
	for n := range foreign() {
		all[n] = nil
	}
	return slices.Sorted(maps.Keys(all))
})

// nearest is the name that is most like one that there is not, if any is.
func nearest(key string) string {
	key = name(key)
	const longest = 100 // no key comes near
	if len(key) > longest {
		return ""
	}
	best, least := "", 1+max(1, len(key)/4)
	for _, n := range known() {
		d := distance(key, n, least)
		if d < least || d == least && names()[n] != nil && best != "" && names()[best] == nil {
			best, least = n, d
		}
	}
	switch {
	case best == "":
		return ""
	case names()[best] != nil && name(names()[best].Name) == best:
		return names()[best].Name
	}
	return best
}

// distance is how many letters must be put in, left out, changed, or swapped
// with the next to make b of a; or something beyond limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

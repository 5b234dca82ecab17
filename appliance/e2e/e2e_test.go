// Package e2e proves ringside as a whole: capture files in, records out.
package e2e

import (
	"bytes"
	"encoding/json"
	"testing"
)

// dump is every record of a reading, in the order in which they came.
func dump(t *testing.T, r *reading) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	put := func(rec any) {
		if err := enc.Encode(rec); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range r.calls {
		put(c)
	}
	for _, s := range r.orphans {
		put(s)
	}
	for _, g := range r.registrations {
		put(g)
	}
	for _, x := range r.exchanges {
		put(x)
	}
	for _, o := range r.others {
		put(o)
	}
	return b.String()
}

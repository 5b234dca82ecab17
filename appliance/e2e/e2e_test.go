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
	for _, c := range r.calls {
		if err := enc.Encode(c); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range r.orphans {
		if err := enc.Encode(s); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

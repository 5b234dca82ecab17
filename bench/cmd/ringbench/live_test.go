package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestLiveUsage(t *testing.T) {
	for _, tc := range []struct {
		name, args, want string
	}{
		{"part", "odd", "no part"},
		{"runs", "--runs 0", "0 runs"},
		{"calls", "--calls 0", "0 calls"},
		{"span", "--span 1ms", "span 1ms"},
		{"share", "--free 2", "share of 2"},
		{"tries", "--tries 0", "0 tries"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := run(t.Context(), append([]string{"live"}, strings.Fields(tc.args)...), new(bytes.Buffer))
			if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a usage error about %q", err, tc.want)
			}
		})
	}
}

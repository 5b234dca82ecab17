package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestProbe(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, probeFile), []byte("left by a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Probe(t.Context(), OS, dir, 130<<20+5)
	if err != nil || p.Bytes != 130<<20+5 || p.Rate() <= 0 || p.Slowest <= 0 || p.Slowest > p.Took {
		t.Errorf("%+v, %v", p, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Probe(ctx, OS, dir, 1<<30); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := Probe(t.Context(), OS, filepath.Join(dir, "none"), 1); err == nil {
		t.Error("a directory that is not there was probed")
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

package mariadb

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestServer starts, stops, kills and removes a server.
func TestServer(t *testing.T) {
	s, err := New()
	if errors.Is(err, ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Remove() })
	if err := s.Start(); err == nil {
		t.Error("it was started twice")
	}
	for name, end := range map[string]func() error{"stop": s.Stop, "kill": s.Kill} {
		for range 2 { // ending again does nothing
			if err := end(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if s.answers() {
			t.Errorf("it answers after %s", name)
		}
		if err := s.Start(); err != nil {
			t.Fatalf("start after %s: %v", name, err)
		}
		if !s.answers() {
			t.Errorf("it does not answer after %s and start", name)
		}
	}
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder after Remove: %v", err)
	}
}

// TestStartFails gives an argument that the server does not know.
func TestStartFails(t *testing.T) {
	s, err := New("--no-such-argument")
	if errors.Is(err, ErrMissing) {
		t.Skip(err)
	}
	if err == nil {
		_ = s.Remove()
		t.Fatal("it started with an argument that it does not know")
	}
	if !strings.Contains(err.Error(), "no-such-argument") {
		t.Errorf("error %v does not say why", err)
	}
}

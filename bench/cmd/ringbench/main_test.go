package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ringside/bench/traffic"
)

func TestGenWritesCaptureAndTruth(t *testing.T) {
	dir := t.TempDir()
	file, lines := filepath.Join(dir, "a.pcapng"), filepath.Join(dir, "a.truth")
	var out bytes.Buffer
	args := []string{"gen", "--talk", "2s", "--calls=3", "--preset", "demo", "--scenarios", "answered=2,busy", "--in-turn",
		"--codecs", "PCMU@30,opus", "--impair", "2:none", "--impair", "loss=0.1", "--vlan", "5,6", "--format", "pcapng",
		"-o", file, "--truth", lines}
	if err := run(t.Context(), args, &out); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(lines)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	truth, err := traffic.ReadTruth(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(truth.Calls) != 3 || truth.Totals.Calls != 3 || truth.Calls[0].VLAN != 5 {
		t.Errorf("got %+v", truth.Totals)
	}
	if truth.Totals.SIPOther == 0 {
		t.Error("the preset's background is missing: flags before --preset undid it")
	}
	if head, err := os.ReadFile(file); err != nil || !bytes.HasPrefix(head, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		t.Errorf("no pcapng file: %v", err)
	}
	if !strings.Contains(out.String(), "3 calls") {
		t.Errorf("report says %q", out.String())
	}
}

// The flags of transports reach the generator.
func TestGenTransports(t *testing.T) {
	dir := t.TempDir()
	lines := filepath.Join(dir, "a.truth")
	args := []string{"gen", "--calls=4", "--talk", "2s", "--transports", "tcp,sctp=2", "--streams", "lost=0.2,split=0.5", "--large", "1",
		"--mtu", "500", "--disorder", "0.5", "--mirror", "both", "--zero-id", "0.5", "--fast-t1", "1", "--hostile", "30",
		"-o", filepath.Join(dir, "a.pcap"), "--truth", lines}
	if err := run(t.Context(), args, new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(lines)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	truth, err := traffic.ReadTruth(f)
	if err != nil {
		t.Fatal(err)
	}
	if n := truth.Totals; n.Carriers == 0 || n.Fragments == 0 || n.Copies == 0 || n.Hostile.SYNs == 0 || len(truth.Doubled) == 0 {
		t.Errorf("got %+v", n)
	}
}

func TestUsageErrors(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no command", nil, "name a command"},
		{"unknown command", []string{"make"}, `no command "make"`},
		{"no file", []string{"gen"}, "-o FILE"},
		{"argument", []string{"gen", "-o", "x", "y"}, `"y"`},
		{"preset", []string{"gen", "--preset", "huge", "-o", "x"}, "demo"},
		{"scenario", []string{"gen", "--scenarios", "odd", "-o", "x"}, "answered"},
		{"codec", []string{"gen", "--codecs", "MP3", "-o", "x"}, "PCMU"},
		{"transport", []string{"gen", "--transports", "quic", "-o", "x"}, "sctp"},
		{"streams", []string{"gen", "--streams", "late=1", "-o", "x"}, "reorder"},
		{"mirror", []string{"gen", "--mirror", "tap", "-o", "x"}, "routed"},
		{"value", []string{"gen", "--ipv6", "2", "-o", "x"}, "IPv6"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := run(t.Context(), tt.args, new(bytes.Buffer))
			if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a usage error about %q", err, tt.want)
			}
		})
	}
	if err := run(t.Context(), []string{"gen", "-o", filepath.Join(t.TempDir(), "no", "file")}, new(bytes.Buffer)); err == nil || errors.Is(err, errUsage) {
		t.Errorf("got %v, want a failure to create", err)
	}
}

package main

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"ringside/bench/netns"
)

func TestSend(t *testing.T) {
	if err := netns.Supported(); err != nil {
		t.Skip(err)
	}
	l, err := netns.Pair(1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	file := filepath.Join(t.TempDir(), "a.pcap")
	if err := run(t.Context(), []string{"gen", "--calls=2", "--talk", "1s", "-o", file, "--quiet"}, new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	sent := uint64(0)
	for _, args := range [][]string{
		{file, "--pps", "20000", "--loop", "3", "--rewrite"},
		{"--pace", "max", "--senders", "2", file},
		{"--speed", "50", file},
		{"--flood", "register", "--loop", "100"},
		{"--flood", "rtp", "--pps", "5000", "--duration", "200ms", "--cpus", "0"},
	} {
		var out bytes.Buffer
		args = append([]string{"send", "--iface", l.Side(netns.A).Iface}, args...)
		if err := l.Do(netns.A, func() error { return run(t.Context(), args, &out) }); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		c, err := l.Counters(netns.B)
		if err != nil || c.RxPackets == sent || !strings.Contains(out.String(), " frames sent") {
			t.Errorf("%v: %v: %d frames arrived, said %q", args, err, c.RxPackets-sent, out.String())
		}
		sent = c.RxPackets
	}
}

func TestSendUsage(t *testing.T) {
	for _, tc := range []struct {
		name, args, want string
	}{
		{"no interface", "x.pcap", "--iface"},
		{"no file", "--iface a", "one capture file"},
		{"file and flood", "--iface a --flood rtp x.pcap", "one capture file"},
		{"two files", "--iface a x.pcap y.pcap", "y.pcap"},
		{"pace", "--iface a --pace odd x.pcap", "recorded"},
		{"engine", "--iface a --engine odd x.pcap", "packet, xdp"},
		{"flat without a rate", "--iface a --pace flat x.pcap", "--pps"},
		{"rate without flat", "--iface a --pace max --pps 5 x.pcap", "--pace flat"},
		{"speed", "--iface a --speed 0 x.pcap", "speed 0"},
		{"flood", "--iface a --flood odd", "register"},
		{"recorded flood", "--iface a --flood rtp --pace recorded", "no recorded pace"},
		{"sources", "--iface a --flood rtp --sources 0", "0 sources"},
		{"processors", "--iface a --cpus 1,x x.pcap", "processor"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := run(t.Context(), append([]string{"send"}, strings.Fields(tc.args)...), new(bytes.Buffer))
			if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a usage error about %q", err, tc.want)
			}
		})
	}
	err := run(t.Context(), []string{"send", "--iface", "a", filepath.Join(t.TempDir(), "none")}, new(bytes.Buffer))
	if err == nil || errors.Is(err, errUsage) {
		t.Errorf("got %v, want a failure to read the file", err)
	}
}

package suite

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// The question that is computed needs no ringside; those that are measured do.
func TestRunPart(t *testing.T) {
	for _, p := range Parts() {
		b := New()
		b.Ringside = "/no/such/program"
		var out bytes.Buffer
		err := b.RunPart(t.Context(), p, &out)
		if computed := p.Name == "steer"; (err == nil) != computed || strings.Contains(out.String(), "| --steer flow | [") != computed {
			t.Errorf("%s: %v, it says\n%s", p.Name, err, out.String())
		}
	}
}

// Both directions of a call are one flow, and each way spreads generated flows.
func TestSteering(t *testing.T) {
	flows, err := generatedFlows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(flows) != steerFlows {
		t.Fatalf("%d flows of %d calls", len(flows), steerFlows)
	}
	for _, way := range steering {
		if rings, off := share(flows, way.ring); off > steerGoal {
			t.Errorf("%s: %v of 1,000 flows: %s off", way.name, rings, percent(off))
		}
		f := flows[0]
		back := flow{addrs: [2][4]byte{f.addrs[1], f.addrs[0]}, ports: [2]uint16{f.ports[1], f.ports[0]}}
		if way.ring(f) != way.ring(back) {
			t.Errorf("%s: directions of %v go to different rings", way.name, f)
		}
	}
	frame := make([]byte, atRTP)
	copy(frame[26:], []byte{10, 0, 0, 2, 10, 0, 0, 1})
	binary.BigEndian.PutUint16(frame[atPorts:], 7)
	binary.BigEndian.PutUint16(frame[atPorts+2:], 9)
	if got, want := flowOf(frame), (flow{[2][4]byte{{10, 0, 0, 1}, {10, 0, 0, 2}}, [2]uint16{9, 7}}); got != want {
		t.Errorf("flow %v, want %v", got, want)
	}
}

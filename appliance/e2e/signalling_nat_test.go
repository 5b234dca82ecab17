package e2e

import (
	"strings"
	"testing"

	"ringside/appliance/daemon"
	"ringside/flow/record"
)

// streamLines are the streams of a call, or those of none.
func streamLines(list []record.Stream) (out []string) {
	for i := range list {
		s := &list[i]
		line := s.Src.String() + " > " + s.Dst.String()
		if s.From != record.SideUnknown {
			line += " from " + s.From.String()
		}
		if s.Flags != "" {
			line += " " + s.Flags
		}
		out = append(out, line)
	}
	return out
}

func orphanLines(h *heard) (out []string) {
	for _, s := range h.orphans {
		out = append(out, streamLines([]record.Stream{*s})...)
	}
	return out
}

// TestAddresses: which streams belong to a call whose ends are behind NATs, or
// are named otherwise than they are seen. SIP comes through a proxy (hops) where
// nothing shall be guessed of its addresses.
func TestAddresses(t *testing.T) {
	const (
		insideA, outsideA = "10.0.0.5:4000", "203.0.113.7:4000"
		insideB, outsideB = "10.1.0.6:5000", "203.0.113.8:5000"
		relay             = "198.51.100.9:7000"
	)
	scenario := func(change func(s *scene)) scene {
		s := plainScene("nat")
		s.mediaA, s.mediaB, s.hops = insideA, insideB, 1
		change(&s)
		return s
	}
	none := func(*scene) {}
	for _, tc := range []struct {
		name    string
		s       scene
		media   [][2]string
		options daemon.ReadOptions
		streams []string
		orphans []string
		flags   string
	}{
		{
			"without an alias", scenario(none), [][2]string{{outsideA, outsideB}, {outsideB, outsideA}}, daemon.ReadOptions{},
			nil, []string{outsideA + " > " + outsideB, outsideB + " > " + outsideA}, "no-rtp",
		},
		{
			"aliases of both sides", scenario(none), [][2]string{{outsideA, outsideB}, {outsideB, outsideA}},
			daemon.ReadOptions{NATAlias: []string{"10.0.0.5=203.0.113.7", "10.1.0.6=203.0.113.8"}},
			[]string{outsideA + " > " + outsideB + " from caller", outsideB + " > " + outsideA + " from called"}, nil, "",
		},
		{
			"an alias of one side", scenario(none), [][2]string{{outsideA, relay}, {relay, outsideA}},
			daemon.ReadOptions{NATAlias: []string{"10.0.0.5=203.0.113.7"}},
			[]string{outsideA + " > " + relay + " from caller nat", relay + " > " + outsideA + " from called nat"}, nil, "nat",
		},
		{
			"guessed from where the phone's SIP comes from",
			scenario(func(s *scene) { s.hops, s.a = 0, "203.0.113.7:40000" }),
			[][2]string{{outsideA, relay}, {relay, outsideA}}, daemon.ReadOptions{},
			[]string{outsideA + " > " + relay + " from caller nat", relay + " > " + outsideA + " from called nat"}, nil, "nat",
		},
		{
			"a server-reflexive candidate is the source",
			scenario(func(s *scene) {
				s.offer = sdpOf(insideA, "a=candidate:1 1 UDP 2130706431 10.0.0.5 4000 typ host",
					"a=candidate:2 1 UDP 1694498815 203.0.113.7 50001 typ srflx raddr 10.0.0.5 rport 4000")
			}),
			[][2]string{{"203.0.113.7:50001", relay}, {relay, "203.0.113.7:50001"}}, daemon.ReadOptions{},
			[]string{"203.0.113.7:50001 > " + relay + " from caller nat", relay + " > 203.0.113.7:50001 from called nat"}, nil, "nat",
		},
		{
			"symmetric RTP: one end is not the one of the SDP",
			scenario(func(s *scene) { s.mediaB = calledMedia }), [][2]string{{outsideA, calledMedia}, {calledMedia, outsideA}}, daemon.ReadOptions{},
			[]string{outsideA + " > " + calledMedia + " from caller nat", calledMedia + " > " + outsideA + " from called nat"}, nil, "nat",
		},
		{
			"both sides: one end is not the one of the SDP",
			scenario(func(s *scene) { s.mediaB = calledMedia }), [][2]string{{outsideA, calledMedia}, {calledMedia, outsideA}},
			daemon.ReadOptions{BothSides: true},
			nil, []string{calledMedia + " > " + outsideA, outsideA + " > " + calledMedia}, "no-rtp",
		},
		{
			"both sides: both ends are",
			scenario(func(s *scene) { s.mediaA, s.mediaB = callerMedia, calledMedia }), [][2]string{{callerMedia, calledMedia}, {calledMedia, callerMedia}},
			daemon.ReadOptions{BothSides: true},
			[]string{callerMedia + " > " + calledMedia + " from caller", calledMedia + " > " + callerMedia + " from called"}, nil, "",
		},
		{
			"both sides, with an alias",
			scenario(func(s *scene) { s.mediaB = calledMedia }), [][2]string{{outsideA, calledMedia}, {calledMedia, outsideA}},
			daemon.ReadOptions{BothSides: true, NATAlias: []string{"10.0.0.5=203.0.113.7"}},
			[]string{outsideA + " > " + calledMedia + " from caller", calledMedia + " > " + outsideA + " from called"}, nil, "",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTape(t)
			w.call(tc.s)
			for i, m := range tc.media {
				w.voice(2*sec, 60*sec, m[0], m[1], uint32(0xa+i))
			}
			h := hear(t, w.path(), tc.options)
			c := h.onlyCall(t)
			sameLines(t, "streams", streamLines(c.Streams), tc.streams)
			sameLines(t, "streams of no call", orphanLines(h), tc.orphans)
			if got := strings.Join(c.Flags.Names(), ","); got != tc.flags {
				t.Errorf("flags %q, want %q", got, tc.flags)
			}
		})
	}
}

// TestGuessesOfTwo: of two phones behind one address with the same port in their
// SDP nothing is guessed.
func TestGuessesOfTwo(t *testing.T) {
	w := newTape(t)
	for i, inside := range []string{"10.0.0.5:4000", "10.0.0.6:4000"} {
		s := plainScene("phone-" + inside)
		s.from, s.a = inside, []string{"203.0.113.7:40000", "203.0.113.7:40001"}[i]
		s.mediaA, s.mediaB = inside, []string{"198.51.100.9:8000", "198.51.100.9:8002"}[i]
		w.call(s)
	}
	w.voice(2*sec, 60*sec, "203.0.113.7:4000", "198.51.100.10:7000", 0xa)
	h := hear(t, w.path(), daemon.ReadOptions{})
	sameLines(t, "streams of no call", orphanLines(h), []string{"203.0.113.7:4000 > 198.51.100.10:7000"})
	if len(h.calls) != 2 {
		t.Errorf("%d calls", len(h.calls))
	}
}

// TestHairpin: a relay sends on what it gets.
func TestHairpin(t *testing.T) {
	const relayA, relayB = "198.51.100.9:7000", "198.51.100.9:7002"
	for _, hairpin := range []bool{true, false} {
		w := newTape(t)
		w.call(plainScene("hairpin"))
		ssrc := uint32(0xa)
		w.voice(2*sec, 60*sec, callerMedia, relayA, ssrc)
		if !hairpin {
			ssrc = 0xf // another stream, not the same one sent on
		}
		w.voice(2*sec+msec, 60*sec, relayB, calledMedia, ssrc)
		w.voice(2*sec, 60*sec, calledMedia, relayB, ssrc+1)
		w.voice(2*sec, 60*sec, relayA, callerMedia, 0xb)
		c := hear(t, w.path(), daemon.ReadOptions{}).onlyCall(t)
		if got := c.Flags&record.Hairpin != 0; got != hairpin || len(c.Streams) != 4 {
			t.Errorf("flags %v, %d streams; sent on: %v", c.Flags.Names(), len(c.Streams), hairpin)
		}
	}
}

package flow

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"ringside/dataplane/frame"
)

// TestRandom: captures at random, of calls that get in each other's way on few
// addresses. The records are the same however it is read.
func TestRandom(t *testing.T) {
	seeds := uint64(16)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := &roulette{Rand: rand.New(rand.NewPCG(seed, 1))}
			for n := range 12 {
				r.call(fmt.Sprint("c", n/2)) // a Call-ID comes twice
			}
			for range 30 {
				r.stream()
			}
			r.script.source(1) // sorts
			r.script.lost = make(map[int]uint32)
			for range r.IntN(4) {
				r.script.lost[r.IntN(len(r.script.packets))] = 1
			}
			r.script.run(t)
		})
	}
}

type roulette struct {
	*rand.Rand
	script script
}

// when is a time in a capture of two minutes, or now and then hours.
func (r *roulette) when() time.Duration {
	if r.IntN(12) == 0 {
		return time.Duration(r.Int64N(int64(3 * time.Hour)))
	}
	return time.Duration(r.Int64N(int64(2 * time.Minute)))
}

func (r *roulette) port() uint16 { return uint16(4000 + r.IntN(6)) }

func (r *roulette) sdp(addr string) string {
	if r.IntN(5) == 0 {
		return ""
	}
	codecs := [...]string{"AMR-WB/16000", "iLBC/8000", "telephone-event/8000"}
	return media(addr, int(r.port()), "0 96", "a=rtpmap:96 "+codecs[r.IntN(len(codecs))]+"\r\n")
}

func (r *roulette) call(id string) {
	at := r.when()
	say := func(fromAlice bool, first, cseq, tag, sdp string) {
		r.script.sip(at, fromAlice, first, id, cseq, tag, sdp)
		at += time.Duration(r.Int64N(int64(4 * time.Second)))
		if r.IntN(8) == 0 {
			at += 40 * time.Second
		}
	}
	say(true, "INVITE sip:bob@b SIP/2.0", "1 INVITE", "", r.sdp("10.0.0.1"))
	if r.IntN(4) == 0 {
		say(false, "SIP/2.0 401 Who", "1 INVITE", "x", "")
		say(true, "INVITE sip:bob@b SIP/2.0", "2 INVITE", "", r.sdp("10.0.0.1"))
	}
	say(false, "SIP/2.0 200 OK", "2 INVITE", "b1", r.sdp("10.0.0.2"))
	for n := range r.IntN(4) {
		cseq := fmt.Sprint(3+n, " INVITE")
		say(true, "INVITE sip:bob@b SIP/2.0", cseq, "b1", r.sdp("10.0.0.1"))
		status := [...]string{"SIP/2.0 200 OK", "SIP/2.0 481 Gone", "SIP/2.0 488 No"}[r.IntN(3)]
		say(false, status, cseq, "b1", r.sdp("10.0.0.2"))
	}
	if r.IntN(3) > 0 {
		say(r.IntN(2) == 0, "BYE sip:bob@b SIP/2.0", "9 BYE", "b1", "")
	}
	if r.IntN(2) > 0 {
		say(false, "SIP/2.0 200 OK", "9 BYE", "b1", "")
	}
}

func (r *roulette) stream() {
	a, b := at2(alice, r.port()), at2(bob, r.port())
	if r.IntN(2) == 0 {
		a, b = b, a
	}
	from, ssrc := r.when(), uint32(r.IntN(5))
	to := from + time.Duration(r.Int64N(int64(20*time.Second)))
	if r.IntN(4) == 0 {
		to = from + 20*time.Millisecond // a single packet
	}
	r.script.rtp(from, to, a, b, [...]uint8{0, 96}[r.IntN(2)], ssrc, 160)
	for at := from; at < to; at += 3 * time.Second {
		r.report(at, a, b, ssrc)
		if r.IntN(2) == 0 {
			r.report(at, frame.Endpoint{Addr: a.Addr, Port: a.Port + 1}, frame.Endpoint{Addr: b.Addr, Port: b.Port + 1}, ssrc)
		}
	}
}

// report adds a sender report of a stream with a block about another.
func (r *roulette) report(at time.Duration, src, dst frame.Endpoint, ssrc uint32) {
	b := make([]byte, 52)
	b[0], b[1] = 0x81, 200
	binary.BigEndian.PutUint16(b[2:], 12)
	binary.BigEndian.PutUint32(b[4:], ssrc)
	binary.BigEndian.PutUint64(b[8:], uint64(at)<<4)
	binary.BigEndian.PutUint32(b[28:], uint32(r.IntN(5)))
	binary.BigEndian.PutUint32(b[32:], r.Uint32N(1<<28))
	r.script.add(at, src, dst, b)
}

// Package audio makes sound of the RTP packets of a call: WAV, peaks for a
// picture of it, and what can be heard and what not, with the reason.
//
// Whoever has the packets hands them over as a Source; nothing here knows a
// spool, a capture or a network. Open reads them once and finds out what is
// there. The Recording it returns is not changed by anything: it may be kept,
// and rendered several times and at the same time, each of which reads the
// packets again. Memory is bounded whatever the length of the call: packets
// wait for two seconds, samples for ten.
//
// # Time
//
// The first packet of a stream is put where it arrived, what follows where its
// RTP timestamp says, so that both directions stand beside each other as on the
// wire, and jitter is not heard. What was lost is silence of the right length.
// Where arrival and timestamps have drifted apart by more than 200 ms, as by
// the clock of the sender, or where the timestamps jump, the stream is put anew.
//
// All that is read came from a network, and may be meant to do harm: sizes and
// numbers of everything that is kept are limited.
package audio

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"ringside/flow/record"
)

// Packet is a datagram of a call.
type Packet struct {
	Time     int64 // of capture, ns since the Unix epoch
	Src, Dst netip.AddrPort
	Data     []byte // what UDP carried, as far as captured; borrowed until emit returns
	Len      int    // of it on the wire; more than len(Data) if it was cut
}

// Source calls emit with the packets of a call by time, all of them each time
// that it is called. It returns emit's error at once. Packets that are no RTP
// are passed over, but session descriptions in SIP are read.
type Source func(ctx context.Context, emit func(*Packet) error) error

// Call is a call with its packets. All but Packets may be empty: then less is
// known of who speaks, of payload types and of keys.
type Call struct {
	Packets Source
	Streams []record.Stream // as in its record: who sends them, their codec
	Media   []record.Media  // as in its record: who receives where, keys
	SDP     [][]byte        // session descriptions that Packets does not bring, as of SIP over TCP
}

// Channels says what a rendering has.
type Channels uint8

// Channels of a rendering.
const (
	Stereo Channels = iota // left the caller, right the called
	Mono                   // both mixed
	Caller                 // what the caller sends, alone
	Called                 // what the called sends, alone
)

var channelNames = []string{"stereo", "mono", "caller", "called"}

func (c Channels) String() string {
	if int(c) < len(channelNames) {
		return channelNames[c]
	}
	return fmt.Sprint(uint8(c))
}

// ParseChannels reads a name of Channels; an empty one is stereo.
func ParseChannels(s string) (Channels, error) {
	for i, n := range channelNames {
		if n == s || s == "" {
			return Channels(i), nil
		}
	}
	return 0, fmt.Errorf("parse channels %q: not one of stereo, mono, caller, called", s)
}

// Options of a rendering.
type Options struct {
	Start    int64 // ns from the beginning of the recording
	Length   int64 // ns; 0: all that follows
	Channels Channels
	Rate     int // Hz: 8000, 16000 or 48000; 0: as the codecs need

	// Buffer makes it what the receiver heard, with a jitter buffer of this many
	// ns: packets that came later are left out. The meter has 50 and 200 ms. With
	// 0 it is what the sender sent, as far as it came at all.
	Buffer int64

	Tones bool // keys that were pressed (RFC 4733) are heard
}

// Rates are the sampling rates of renderings, Hz.
var Rates = []int{8000, 16000, 48000}

// maxWAV is how many bytes of samples fit into a WAV file, whose sizes have 32 bits.
const maxWAV = 1<<32 - 1 - 44

// ErrNothing is why a recording cannot be rendered that has no audio that can
// be heard; Description.Why says more.
var ErrNothing = errors.New("nothing to hear")

// Recording is what Open found. It is not changed any more.
type Recording struct {
	Description
	call   Call
	survey *survey
}

// window is the part of a recording that a rendering has.
type window struct {
	rate     int
	from, to int64 // samples from the beginning
}

// window checks the options.
func (r *Recording) window(o Options) (w window, err error) {
	if !r.Playable {
		return w, fmt.Errorf("render audio: %w: %s", ErrNothing, r.Why)
	}
	w.rate = r.Rate
	if o.Rate != 0 {
		w.rate = o.Rate
	}
	switch {
	case w.rate != 8000 && w.rate != 16000 && w.rate != 48000:
		return w, fmt.Errorf("render audio: a rate of %d Hz: choose 8000, 16000 or 48000", o.Rate)
	case o.Channels > Called:
		return w, fmt.Errorf("render audio: no channels %d: choose stereo, mono, caller or called", o.Channels)
	case o.Start < 0 || o.Length < 0 || o.Buffer < 0:
		return w, errors.New("render audio: start, length and buffer must not be negative")
	case o.Start >= r.Length:
		return w, fmt.Errorf("render audio: start at %s, but the recording has %s", seconds(o.Start), seconds(r.Length))
	}
	end := r.Length
	if o.Length > 0 && o.Length < r.Length-o.Start {
		end = o.Start + o.Length
	}
	w.from, w.to = samplesAt(o.Start, w.rate), samplesAt(end, w.rate)
	if size := (w.to - w.from) * 2 * int64(o.Channels.count()); size > maxWAV {
		return w, fmt.Errorf("render audio: %s at %d Hz do not fit into a WAV file of 4 GiB: choose a shorter length, a lower rate, or mono", seconds(end-o.Start), w.rate)
	}
	return w, nil
}

func (c Channels) count() int {
	if c == Stereo {
		return 2
	}
	return 1
}

// Size is how many bytes Render will write, for a Content-Length.
func (r *Recording) Size(o Options) (int64, error) {
	w, err := r.window(o)
	return headerSize + (w.to-w.from)*2*int64(o.Channels.count()), err
}

func seconds(ns int64) string { return fmt.Sprintf("%.1f s", float64(ns)/1e9) }

// samplesAt is the sample next to a time, ns. It cannot overflow.
func samplesAt(ns int64, rate int) int64 {
	r := int64(rate)
	return ns/1e9*r + (ns%1e9*r+5e8)/1e9
}

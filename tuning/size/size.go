// Package size says what a load of calls takes: processors, memory, rings, disk, rows
// of the store, and the network card.
//
//	need, err := size.Of(size.Load{Calls: 2000, Codec: "G.711", Recording: size.Header})
//
// It is arithmetic on what was measured (figures.go); a test compares it with real
// runs. Of knows two ways of working: a live capture on a dedicated interface, as
// is sized for, and a file that is read (Load.File), as can be checked anywhere.
package size

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Recording is what is kept of the media of calls.
type Recording string

// Recordings. SIP is always kept; Meter keeps no media.
const (
	Meter  Recording = "meter"
	Header Recording = "header"
	Full   Recording = "full"
)

// Load is what is to be captured. Zero stands for the default.
type Load struct {
	Calls    float64       // conversations at a time
	Duration time.Duration // of a conversation, on average; default 3 min
	// CallRate is how many calls are tried a second. Default: as many as answered
	// ones make up Calls; what is more are calls that come to nothing.
	CallRate float64

	Codec  string        // default G.711
	Packet time.Duration // of audio in a packet; default as the codec has it
	// Payload is the bytes in a packet, for codecs of variable rate; default by codec.
	Payload float64

	Recording   Recording     // default Meter
	Share       float64       // of calls, of which media are kept; default 1
	Compression string        // of media: none (default), lz4, zstd
	Lookback    time.Duration // that rules look back

	Messages     float64 // of an answered call; default 8
	MessageBytes float64 // on the wire; default 750

	Retention time.Duration // that packets are kept
	Disk      float64       // bytes for them, if Retention is 0
	Days      float64       // that records are kept; default 90

	SpoolMemory float64 // bytes; 0: as computed
	Slower      float64 // times that processors take as long as the reference's, as Calibrate says; default 1
	File        bool    // a file is read, with one worker
	NoStore     bool    // records go nowhere
	NoSIP       bool    // SIP is not kept either, as without a spool
	Generated   bool    // audio is that of bench/traffic, which shrinks better than speech

	codec codec
}

// Need is what a load takes.
type Need struct {
	Load Traffic `json:"load"`

	Cores    float64 `json:"cores"` // to have, whole
	Busy     float64 `json:"busy"`  // of them on average
	CPU      []Part  `json:"cpu"`   // what is busy, by part, cores
	Memory   float64 `json:"memory_bytes"`
	MemoryOf []Part  `json:"memory"`
	Ring     float64 `json:"ringbuffer_bytes"` // for each interface
	Spool    float64 `json:"spool_memory_bytes"`

	DiskRate  float64 `json:"disk_bytes_per_second"`
	SIPDay    float64 `json:"sip_bytes_per_day"`
	RTPDay    float64 `json:"rtp_bytes_per_day"`
	Retention float64 `json:"retention_days,omitempty"` // of packets
	Disk      float64 `json:"spool_bytes,omitempty"`

	RowsDay    float64 `json:"rows_per_day"`
	StoreDay   float64 `json:"store_bytes_per_day"`
	StoreDays  float64 `json:"store_days"`
	StoreBytes float64 `json:"store_bytes"`

	Notes []string `json:"notes,omitempty"`
}

// Traffic is what a load comes to on the wire.
type Traffic struct {
	Calls    float64 `json:"calls"`
	CallRate float64 `json:"calls_per_second"` // tried
	Answered float64 `json:"answered_per_second"`
	Streams  float64 `json:"streams"`
	RTP      float64 `json:"rtp_per_second"`
	SIP      float64 `json:"sip_per_second"`
	Frame    float64 `json:"frame_bytes"`     // of RTP
	Bits     float64 `json:"bits_per_second"` // of the link, in use
}

// Part is a share of a sum.
type Part struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

const day = 24 * time.Hour

// Bytes around a payload: RTP, UDP, IPv4, Ethernet; and on the wire beyond the frame:
// preamble, check sum, gap.
const (
	headerBytes = 12 + 8 + 20 + 14
	wireBytes   = 8 + 4 + 12
)

// A call that is not answered has fewer messages: INVITE, 100, 4xx, ACK.
const failedMessages = 4

func (l Load) withDefaults() (Load, error) {
	orElse := func(v *float64, other float64) {
		if *v == 0 {
			*v = other
		}
	}
	if l.Codec == "" {
		l.Codec = "G.711"
	}
	c, err := parseCodec(l.Codec)
	if err != nil {
		return l, err
	}
	l.codec = c
	if l.Duration == 0 {
		l.Duration = 3 * time.Minute
	}
	if l.Packet == 0 {
		l.Packet = c.packet
	}
	if l.Recording == "" {
		l.Recording = Meter
	}
	if l.Compression == "" {
		l.Compression = "none"
	}
	orElse(&l.Share, 1)
	orElse(&l.Messages, 8)
	orElse(&l.MessageBytes, 750)
	orElse(&l.Days, 90)
	orElse(&l.Slower, 1)
	orElse(&l.CallRate, l.Calls/l.Duration.Seconds())
	orElse(&l.Payload, c.bytes*l.Packet.Seconds())
	return l, l.check()
}

func (l *Load) check() error {
	for _, v := range []float64{l.Calls, l.CallRate, l.Payload, l.Share, l.Messages, l.MessageBytes, l.Disk, l.Days, l.SpoolMemory, l.Slower} {
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			return fmt.Errorf("%v is no number to size with: write numbers of 0 or more", v)
		}
	}
	answered := l.Calls / l.Duration.Seconds()
	switch {
	case l.Calls == 0:
		return errors.New("no calls: say how many go on at a time")
	case l.Calls > 1e7:
		return fmt.Errorf("%.0f calls at a time are more than one machine is sized for: divide them among sensors", l.Calls)
	case l.Duration < time.Second || l.Duration > 24*time.Hour:
		return fmt.Errorf("duration %v: a call takes 1s to 24h on average", l.Duration)
	case l.CallRate < answered*0.999:
		return fmt.Errorf("%.4g calls a second of %v are %.0f at a time, not %.0f: give a rate of at least %.4g, or leave it out",
			l.CallRate, l.Duration, l.CallRate*l.Duration.Seconds(), l.Calls, answered)
	case l.Packet < 5*time.Millisecond || l.Packet > 200*time.Millisecond || l.Packet%l.codec.step != 0:
		return fmt.Errorf("packet time %v: %s has multiples of %v, from 5ms to 200ms", l.Packet, l.codec.name, l.codec.step)
	case l.Share > 1:
		return fmt.Errorf("share %v: write a part of the calls, from 0 to 1", l.Share)
	case !slices.Contains([]Recording{Meter, Header, Full}, l.Recording):
		return fmt.Errorf("recording %q: write meter, header or full", l.Recording)
	case l.Retention < 0 || l.Lookback < 0 || l.Lookback > 5*time.Minute:
		return errors.New("times must be 0 or more, and rules look back for 5m at most")
	case l.Retention > 0 && l.Disk > 0:
		return errors.New("retention and disk: one follows from the other; give one of them")
	}
	if _, ok := ratios[l.Compression]; !ok {
		return fmt.Errorf("compression %q: write none, lz4 or zstd", l.Compression)
	}
	return nil
}

// Of computes what a load takes.
func Of(l Load) (*Need, error) {
	l, err := l.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("size: %w", err)
	}
	n := &Need{Load: l.traffic(), StoreDays: l.Days}
	l.sizeDisk(n)
	l.sizeStore(n)
	l.sizeMemory(n)
	l.sizeCPU(n)
	l.note(n)
	return n, nil
}

func (l *Load) traffic() (t Traffic) {
	t.Calls, t.CallRate = l.Calls, l.CallRate
	t.Answered = l.Calls / l.Duration.Seconds()
	t.Streams = 2 * l.Calls
	t.RTP = t.Streams / l.Packet.Seconds()
	t.SIP = t.Answered*l.Messages + (t.CallRate-t.Answered)*failedMessages
	t.Frame = l.Payload + headerBytes
	t.Bits = 8 * (t.RTP*(t.Frame+wireBytes) + t.SIP*(l.MessageBytes+wireBytes))
	return t
}

// block is what a packet of media takes in a segment that is not compressed.
func (l *Load) block() float64 {
	return (blockBytes + math.Ceil((headerBytes+l.payloadKept())/4)*4) * (1 + chunkShare)
}

// stored is what a packet of media takes in a segment.
func (l *Load) stored() float64 {
	r := ratios[l.Compression]
	switch {
	case l.codec.hardly || l.Recording == Header:
		// Headers and blocks around them shrink, payload does not.
		return l.payloadKept() + (l.block()-l.payloadKept())*r.headers
	case l.Generated:
		return l.block() * r.generated
	}
	return l.block() * r.speech
}

func (l *Load) payloadKept() float64 {
	if l.Recording == Full {
		return l.Payload
	}
	return 0
}

func (l *Load) sizeDisk(n *Need) {
	var rtp float64
	if l.Recording != Meter {
		rtp = n.Load.RTP * l.Share * l.stored()
	}
	sip := n.Load.SIP * l.MessageBytes / sipRatio
	if l.NoSIP {
		sip = 0
	}
	n.DiskRate = rtp + sip
	n.SIPDay, n.RTPDay = sip*day.Seconds(), rtp*day.Seconds()
	perDay := n.SIPDay + n.RTPDay
	switch {
	case l.Retention > 0:
		n.Retention = l.Retention.Hours() / 24
		n.Disk = perDay * n.Retention
	case l.Disk > 0 && perDay > 0:
		n.Disk = l.Disk
		n.Retention = l.Disk / perDay
	}
}

// rows are those of an answered call, and of one that is not.
func (l *Load) rows() (answered, failed float64) {
	const (
		each    = 1 + 1 + 2 // call, leg, addresses
		streams = 2 + 2     // streams, media
		events  = 2
	)
	return each + streams + events + l.Messages, each + 1 + failedMessages
}

func (l *Load) sizeStore(n *Need) {
	if l.NoStore {
		n.StoreDays = 0
		return
	}
	failed := n.Load.CallRate - n.Load.Answered
	a, f := l.rows()
	n.RowsDay = (n.Load.Answered*a + failed*f) * day.Seconds()
	bytes := n.Load.Answered*(rowCallBytes+2*rowStreamBytes+2*rowMediaBytes+2*rowEventBytes+l.Messages*rowMessageBytes) +
		failed*(rowCallBytes+rowMediaBytes+failedMessages*rowMessageBytes)
	n.StoreDay = bytes * day.Seconds()
	n.StoreBytes = EmptyStore + n.StoreDay*l.Days
}

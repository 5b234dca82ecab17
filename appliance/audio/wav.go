package audio

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"ringside/flow/record"
)

// headerSize is that of a WAV file: RIFF, fmt and data chunks.
const headerSize = 44

// header is that of a WAV file of 16 bits whose samples have a number of bytes.
func header(rate, channels int, size int64) []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 0, headerSize), "RIFF"...)
	b = le.AppendUint32(b, uint32(headerSize-8+size))
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, 16)
	b = le.AppendUint16(b, 1) // PCM
	b = le.AppendUint16(b, uint16(channels))
	b = le.AppendUint32(b, uint32(rate))
	b = le.AppendUint32(b, uint32(2*channels*rate))
	b = le.AppendUint16(b, uint16(2*channels))
	b = le.AppendUint16(b, 16)
	b = append(b, "data"...)
	return le.AppendUint32(b, uint32(size))
}

// mixer adds the sounds of streams, and hands them on in order when nothing can
// be added to them any more. Its time is in samples from the beginning.
type mixer struct {
	base  int64 // time of sample 0, ns
	done  int64 // samples before this were handed on
	from  int64 // samples before this are not wanted
	to    int64 // nor those from here on
	rings [2][]float32
	block []float32 // to make sounds in
	take  func(caller, called []float32) error
	miss  func(side record.Side, pos int64, packets uint64) // told of what is not heard; may be nil
	err   error
}

// mixed is how many seconds of sound may be added to. A packet that waits for
// hold, and was held back for stall, is six seconds old, and lasts one at most.
const mixed = 10

func newMixer(base int64, w window, take func(caller, called []float32) error) *mixer {
	m := &mixer{base: base, from: w.from, to: w.to, take: take}
	for i := range m.rings {
		m.rings[i] = make([]float32, mixed*w.rate)
	}
	return m
}

// at is the sample at a time.
func (m *mixer) at(t int64, rate int) int64 {
	if t < m.base {
		return -samplesAt(m.base-t, rate)
	}
	return samplesAt(t-m.base, rate)
}

// add adds a sound at pos. What is too old, or too far ahead, is left out.
func (m *mixer) add(side record.Side, pos int64, sound []float32) {
	if cut := m.done - pos; cut > 0 {
		sound = sound[min(cut, int64(len(sound))):]
		pos = m.done
	}
	ring := m.rings[0]
	if side == record.SideCalled {
		ring = m.rings[1]
	}
	if room := m.done + int64(len(ring)) - pos; int64(len(sound)) > room {
		sound = sound[:max(0, room)]
	}
	for len(sound) > 0 {
		i := pos % int64(len(ring))
		into := ring[i:]
		n := min(len(into), len(sound))
		for k, x := range sound[:n] {
			into[k] += x
		}
		pos, sound = pos+int64(n), sound[n:]
	}
}

// errDone says that all that is wanted was handed on.
var errDone = errors.New("done")

// advance hands on what is before a sample.
func (m *mixer) advance(to int64) error {
	for to = min(to, m.to); m.done < to && m.err == nil; {
		size := int64(len(m.rings[0]))
		i := m.done % size
		n := min(to-m.done, size-i)
		if skip := m.from - m.done; skip > 0 {
			n = min(n, skip)
		} else {
			m.err = m.take(m.rings[0][i:i+n], m.rings[1][i:i+n])
		}
		clear(m.rings[0][i : i+n])
		clear(m.rings[1][i : i+n])
		m.done += n
	}
	if m.err == nil && m.done >= m.to {
		m.err = errDone
	}
	return m.err
}

// Render writes a part of the recording as a WAV file of 16 bits. It begins to
// write after some seconds of packets, and does not end before all are read.
func (r *Recording) Render(ctx context.Context, to io.Writer, o Options) error {
	w, err := r.window(o)
	if err != nil {
		return err
	}
	size := (w.to - w.from) * 2 * int64(o.Channels.count())
	if _, err := to.Write(header(w.rate, o.Channels.count(), size)); err != nil {
		return fmt.Errorf("write WAV: %w", err)
	}
	out := &wavWriter{to: to, channels: o.Channels}
	return r.mix(ctx, w, o, newMixer(r.survey.base, w, out.take))
}

// wavWriter writes samples as they are in a file.
type wavWriter struct {
	to       io.Writer
	channels Channels
	b        []byte
}

// wavBlock is how many samples of each channel are written at a time.
const wavBlock = 8192

func (w *wavWriter) take(caller, called []float32) error {
	for len(caller) > 0 {
		n := min(len(caller), wavBlock)
		w.b = w.b[:0]
		for i := range n {
			switch w.channels {
			case Stereo:
				w.b = appendSample(appendSample(w.b, caller[i]), called[i])
			case Mono:
				w.b = appendSample(w.b, caller[i]+called[i])
			case Caller:
				w.b = appendSample(w.b, caller[i])
			case Called:
				w.b = appendSample(w.b, called[i])
			}
		}
		if _, err := w.to.Write(w.b); err != nil {
			return fmt.Errorf("write WAV: %w", err)
		}
		caller, called = caller[n:], called[n:]
	}
	return nil
}

func appendSample(b []byte, x float32) []byte {
	n := uint16(int16(math.Round(float64(min(max(x, -32768), 32767)))))
	return append(b, byte(n), byte(n>>8))
}

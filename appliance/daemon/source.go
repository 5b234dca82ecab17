package daemon

import (
	"sync"

	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
	"ringside/dataplane/replay"
)

// source is where the frames of a Read come from: capture files, or a replay
// of them that opens them once for each pass.
type source struct {
	frames frame.Source
	close  func() error

	mu    sync.Mutex
	now   *pcapin.Reader // being read
	done  pcapin.Stats   // of the passes before
	loops int
}

func (s *source) open(o ReadOptions) error {
	s.loops = 1
	pass := func() (replay.Input, error) {
		r, err := pcapin.Open(pcapin.Options{Inputs: o.Paths})
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.now != nil {
			add(&s.done, s.now.Stats())
		}
		s.now = r
		return r, nil
	}
	if o.Replay != nil {
		s.loops = max(1, o.Replay.Loops)
		in, err := replay.New(pass, *o.Replay)
		if err != nil {
			return err
		}
		s.frames, s.close = in, in.Close
		return nil
	}
	in, err := pass()
	if err != nil {
		return err
	}
	s.frames, s.close = in, in.Close
	return nil
}

// Close ends the reading.
func (s *source) Close() error { return s.close() }

// Stats is the sum over all passes.
func (s *source) Stats() pcapin.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.now.Stats()
	sum.TotalBytes *= int64(s.loops)
	add(&sum, s.done)
	return sum
}

// add adds what o has read. Damages are those of one pass: all have the same.
func add(sum *pcapin.Stats, o pcapin.Stats) {
	sum.Bytes += o.Bytes
	sum.Frames += o.Frames
	sum.Cut += o.Cut
	sum.UnknownBlocks += o.UnknownBlocks
	sum.Dropped += o.Dropped
}

package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ringside/flow"
	"ringside/flow/rule"
	"ringside/writer/pcap"
	"ringside/writer/spool"
)

// SpoolOptions say which packets are stored, and where.
type SpoolOptions struct {
	Dir       string // spool directory; it must exist
	AllowRoot bool   // on the root file system too, although a larger one is mounted
	RulesFile string // capture rules; empty: Rules
	Rules     string // their text; empty: all of SIP and RTP
	Memory    int64  // bytes for packets on their way, half of it for the look-back; 0: 128 MiB
	Quota     SpoolQuota
	Cold      []SpoolDir // where segments go that are beyond the quota

	timed func(spool.Op, time.Duration) // is told how long the disk takes; may be nil

	// Wait makes a reader of files wait for the disk where a live capture would
	// have to give packets up.
	Wait bool
}

const (
	defaultSpoolMemory = 128 << 20
	everything         = "default -> sip full, rtp full, register full\n"
)

// recording is the spool of a Read, with what leads to it.
type recording struct {
	spool  *spool.Spool
	memory []byte // for copies of frames, outside of the Go heap
	wait   bool

	mu         sync.Mutex
	text, path string // of the rules
	pending    string // why they hold after a restart only; empty: they hold
}

// openRecording opens the spool, and gives the shards their way to it.
func openRecording(o SpoolOptions, to *flow.Options) (*recording, error) {
	text, rules, err := readRules(o)
	if err != nil {
		return nil, err
	}
	memory := o.Memory
	if memory == 0 {
		memory = defaultSpoolMemory
	}
	held := max(memory/2, int64(to.Workers)*flow.MinKept)
	s, err := spool.Open(spool.Options{
		Dir: o.Dir, Memory: memory - memory/2, Shards: to.Workers,
		Section: pcap.Section{App: "ringside"},
		Limits:  o.Quota, Tiers: o.Cold, AllowRoot: o.AllowRoot, Timed: o.timed,
	})
	if errors.Is(err, fs.ErrNotExist) { // a directory made here could be that below a lost mount
		err = fmt.Errorf("%w: make the directory first", err)
	}
	if err != nil {
		return nil, err
	}
	r := &recording{spool: s, wait: o.Wait, text: text, path: o.RulesFile}
	if r.memory, err = unix.Mmap(-1, 0, int(held), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE); err != nil {
		s.Close()
		return nil, fmt.Errorf("map %s for frames that may be stored: %w", spool.Bytes(held), err)
	}
	// Its lines are written round and round: with large pages that costs no walk of
	// the page table each time. Where there are none it is only slower.
	_ = unix.Madvise(r.memory, unix.MADV_HUGEPAGE)
	to.Recorder = func(shard int) flow.Recorder { return &recorder{to: r, shard: s.Shard(shard)} }
	to.Rules, to.Memory = rules, r.memory
	return r, nil
}

// readRules reads the rules of a spool, and their text.
func readRules(o SpoolOptions) (string, *rule.Set, error) {
	text := cmp.Or(o.Rules, everything)
	if o.RulesFile != "" {
		b, err := os.ReadFile(o.RulesFile)
		if err != nil {
			return "", nil, fmt.Errorf("read capture rules: %w", err)
		}
		text = string(b)
	}
	rules, err := rule.Parse(text)
	if err != nil {
		return "", nil, fmt.Errorf("read capture rules %s: %w", o.RulesFile, err)
	}
	return text, rules, nil
}

// close writes what is open. No shard must be at work any more.
func (r *recording) close() error {
	if r.memory != nil {
		_ = unix.Munmap(r.memory)
		r.memory = nil
	}
	return r.spool.Close()
}

// recorder puts the packets of one shard on the tapes of the spool.
type recorder struct {
	to     *recording
	shard  *spool.Shard
	tapes  []spool.Tape // by number
	gaveUp bool         // the disk took nothing for so long that no packet waits for it
}

var classes = [rule.Classes]spool.Class{rule.SIP: spool.SIP, rule.RTP: spool.RTP, rule.Register: spool.Register}

// Record implements flow.Recorder. The places where packets go are looked at some
// packets ahead, so that their cache misses overlap.
func (r *recorder) Record(packets []flow.Recording) {
	var q pcap.Packet
	for from := 0; from < len(packets); from += recordAhead {
		run := packets[from:min(from+recordAhead, len(packets))]
		for i := range run {
			n := run[i].Tape
			for int(n) >= len(r.tapes) {
				r.tapes = append(r.tapes, spool.Tape{})
			}
			r.shard.Fetch(&r.tapes[n])
		}
		for i := range run {
			p := &run[i]
			q.Time, q.Data, q.Len, q.Iface = p.Time, p.Data, p.Len, p.Iface
			p.Refused = !r.put(p, &q)
		}
	}
}

// recordAhead is how many packets Record looks ahead.
const recordAhead = 32

// put stores one packet; where there is time, it waits for memory.
func (r *recorder) put(p *flow.Recording, q *pcap.Packet) bool {
	class, tape := classes[p.Class], &r.tapes[p.Tape]
	if r.shard.Put(tape, class, p.Key, p.Clock, p.Link, q) {
		r.gaveUp = false
		return true
	}
	for i := 0; r.to.wait && !r.gaveUp && i < patience; i++ {
		if i == 10 {
			r.shard.Flush() // it is our own chunks that fill the memory
		}
		time.Sleep(time.Millisecond)
		if r.shard.Put(tape, class, p.Key, p.Clock, p.Link, q) {
			return true
		}
	}
	r.gaveUp = r.to.wait
	return false
}

// patience is how many milliseconds a reader of files waits for a disk.
const patience = 30_000

// End implements flow.Recorder.
func (r *recorder) End(tape uint32) {
	if int(tape) < len(r.tapes) {
		r.shard.End(&r.tapes[tape])
	}
}

// Tick implements flow.Recorder.
func (r *recorder) Tick(clock int64) { r.shard.Tick(clock) }

// Describe says in lines for people what the spool may hold, and what is to be
// known of where it lies; nothing if no packets are stored.
func (r *pipeline) Describe() []string {
	if r.record == nil {
		return nil
	}
	return r.record.spool.Describe()
}

// stored lists what became of the packets that were given to the spool.
func (r *pipeline) stored(fl *flow.Stats) []flow.Kind {
	if r.record == nil {
		return nil
	}
	s := r.record.spool.Stats()
	out := make([]flow.Kind, 0, 8)
	lost, dropped := uint64(0), uint64(0)
	for c := range spool.Class(spool.Classes) {
		out = append(out, flow.Kind{Name: "stored-" + c.String(), Count: s.Stored[c].Packets})
		lost += s.Lost[c].Packets
		dropped += s.Dropped[c].Packets
	}
	return append(out, flow.Kind{Name: "disk-failed", Count: lost}, flow.Kind{Name: "dropped", Count: dropped},
		flow.Kind{Name: "no-memory", Count: fl.NotRecorded})
}

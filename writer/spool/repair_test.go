package spool

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringside/writer/compress"
	"ringside/writer/pcap"
)

// written is a spool directory with one segment of SIP, closed, and its packets.
func written(t *testing.T, f compress.Ladder) (dir string, n Name, all []sent) {
	t.Helper()
	o := Options{Dir: t.TempDir(), Together: [Classes]int{SIP: 8 << 10}} // damage costs whole frames
	for c := range o.Ladders {
		o.Ladders[c] = f
	}
	s := open(t, o)
	for _, p := range fill(t, s.Shard(0), rand.New(rand.NewPCG(9, 9)), 5, 400, 2*time.Second) {
		if bytes.Contains(p.data, []byte("Call-ID")) {
			all = append(all, p)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	list, err := List(OS, o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		if i.Class == SIP {
			return o.Dir, i.Name, all
		}
	}
	t.Fatal("no segment of SIP")
	return
}

// Every byte that changes is noticed; a repaired segment is whole, and has what
// was not damaged.
func TestCheckAndRepair(t *testing.T) {
	for name, ladder := range ladders {
		t.Run(name, func(t *testing.T) {
			dir, n, all := written(t, ladder)
			path := filepath.Join(dir, n.Path())
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if r, err := Repair(OS, dir, n); err != nil || r.Frames != 0 {
				t.Fatalf("a whole segment is repaired: %+v, %v", r, err)
			}
			r := rand.New(rand.NewPCG(1, 1))
			for range 30 {
				b := bytes.Clone(whole)
				at := r.IntN(len(b))
				b[at] ^= 0x55
				if err := os.WriteFile(path, b, 0o644); err != nil {
					t.Fatal(err)
				}
				if Check(OS, dir, n) == nil {
					t.Fatalf("byte %d of %d is changed, and nothing noticed", at, len(b))
				}
				got, err := Repair(OS, dir, n)
				if err != nil || got.Packets == 0 {
					t.Fatalf("repair: %+v, %v", got, err)
				}
				if err := Check(OS, dir, n); err != nil {
					t.Fatalf("after repair: %v", err)
				}
				if got.Packets > uint64(len(all)) {
					t.Fatalf("%d packets of %d", got.Packets, len(all))
				}
			}
		})
	}
}

// What another process has open is read as far as it is written, and what is
// damaged costs its own packets only.
func TestFetchDirHidden(t *testing.T) {
	dir, n, all := written(t, ladders["zstd"])
	key := all[0].key
	hidden := n
	hidden.Hidden = true
	if err := os.Rename(filepath.Join(dir, n.Path()), filepath.Join(dir, hidden.Path())); err != nil {
		t.Fatal(err)
	}
	var got []sent
	q := Query{Keys: []string{key}, Classes: []Class{SIP}}
	emit := func(p *pcap.Packet, _ pcap.Interface, key string) error {
		got = append(got, sent{key: key, time: p.Time, data: bytes.Clone(p.Data)})
		return nil
	}
	if _, err := FetchDir(context.Background(), OS, dir, q, emit); err != nil {
		t.Fatal(err)
	}
	same(t, got, only(all, key))
}

// A call that is exported has all its packets in Wireshark, in the order of
// time, each with its key.
func TestExport(t *testing.T) {
	dir, _, all := written(t, ladders["zstd"])
	keys := []string{"call-1@example.com", "call-2@example.com"}
	want := len(only(all, keys[0])) + len(only(all, keys[1]))
	for _, f := range []pcap.Format{pcap.PcapNG, pcap.Classic} {
		var out bytes.Buffer
		w := pcap.NewWriter(&out, f, &pcap.Section{App: "ringside"})
		st, err := FetchDir(context.Background(), OS, dir, Query{Keys: keys, Classes: []Class{SIP}}, Export(w))
		if err == nil {
			err = w.Flush()
		}
		if err != nil || st.Packets != uint64(want) {
			t.Fatalf("%d packets, want %d: %v", st.Packets, want, err)
		}
		lines := strings.Split(strings.TrimSpace(string(run(t, out.Bytes(), "tshark", "-n", "-r", "-", "-T", "fields", "-e", "frame.time_delta", "-e", "sip.Call-ID"))), "\n")
		for _, l := range lines {
			if strings.HasPrefix(l, "-") || !strings.Contains(l, keys[0]) && !strings.Contains(l, keys[1]) {
				t.Fatalf("tshark reads %q", l)
			}
		}
		if len(lines) != want {
			t.Errorf("tshark reads %d packets, want %d", len(lines), want)
		}
	}
}

// One call among many is found with few reads.
func TestFetchReadsLittle(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), Memory: 64 << 20})
	fill(t, s.Shard(0), rand.New(rand.NewPCG(2, 2)), 50, 40000, 3*time.Minute)
	dir := s.root
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	own := int64(0)
	st, err := FetchDir(context.Background(), OS, dir, Query{Keys: []string{"call-7@example.com"}, Classes: []Class{RTP}}, func(p *pcap.Packet, _ pcap.Interface, _ string) error {
		own += int64(pcap.PacketSize(p))
		return nil
	})
	if err != nil || own == 0 || st.Read > 3*own {
		t.Errorf("%d bytes read for %d of packets (%s): %v", st.Read, own, fmt.Sprint(st), err)
	}
}

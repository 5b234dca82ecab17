package netns

import (
	"encoding/json"
	"fmt"
	"os/exec"
)

// Counters are what the kernel counts of one end since it was made.
type Counters struct {
	RxPackets, RxBytes, RxDropped uint64
	TxPackets, TxBytes, TxDropped uint64
}

// Counters reads the counters of one end.
func (l *Link) Counters(side int) (Counters, error) {
	s := l.sides[side]
	out, err := exec.Command("ip", "-n", s.Namespace, "-j", "-s", "link", "show", "dev", s.Iface).Output()
	if err != nil {
		return Counters{}, fmt.Errorf("read counters of %s: %w", s.Iface, err)
	}
	var links []struct {
		Stats struct {
			Rx, Tx struct{ Packets, Bytes, Dropped uint64 }
		} `json:"stats64"`
	}
	if err := json.Unmarshal(out, &links); err != nil || len(links) != 1 {
		return Counters{}, fmt.Errorf("read counters of %s: unexpected answer %q: %w", s.Iface, out, err)
	}
	rx, tx := links[0].Stats.Rx, links[0].Stats.Tx
	return Counters{
		RxPackets: rx.Packets, RxBytes: rx.Bytes, RxDropped: rx.Dropped,
		TxPackets: tx.Packets, TxBytes: tx.Bytes, TxDropped: tx.Dropped,
	}, nil
}

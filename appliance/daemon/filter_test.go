package daemon

import (
	"strings"
	"testing"

	"ringside/bench/corpus"
	"ringside/flow/record"
)

// What a filter leaves out is a row of the ledger, and a call of which it takes
// the ports is there as without it, though its messages came in fragments.
func TestReadFilter(t *testing.T) {
	files := []string{corpus.Capture(t, "irontec+sngrep/ipv6frag.pcap"), corpus.Capture(t, "irontec+sngrep/ipip.pcap")}
	read := func(expression string, workers int) (calls []string, left uint64, rep Report) {
		t.Helper()
		r, err := NewRead(ReadOptions{Paths: files, Workers: workers, Filter: expression, Call: func(c *record.Call) { calls = append(calls, c.CallID) }})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		rep = r.Report()
		if !rep.Balanced {
			t.Errorf("%q: the ledger does not balance: %+v", expression, rep.Ledger)
		}
		for _, row := range rep.Ledger {
			if row.Stage == StageKind && row.Reason == kindFiltered {
				left = row.Count
			}
		}
		return calls, left, rep
	}
	all, left, rep := read("", 1)
	if len(all) == 0 || left != 0 {
		t.Fatalf("without a filter %d calls, %d packets left out", len(all), left)
	}
	for _, workers := range []int{1, 3} {
		if calls, _, _ := read("port 5060 or portrange 1024-65535", workers); strings.Join(calls, " ") != strings.Join(all, " ") {
			t.Errorf("with a filter of their ports, %d workers: calls %q, want %q", workers, calls, all)
		}
		if calls, left, _ := read("not ip and not ip6", workers); len(calls) != 0 || left != rep.Packets {
			t.Errorf("with a filter of nothing: %d calls, %d of %d packets left out", len(calls), left, rep.Packets)
		}
	}
	if _, err := NewRead(ReadOptions{Paths: files, Filter: "prot 5"}); err == nil || !strings.Contains(err.Error(), "filter, column 1") {
		t.Errorf("a wrong filter: %v", err)
	}
}

package suite

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ringside/bench/ask"
	"ringside/bench/report"
)

// ledgerRow is what counts here of a row of the answer to GET /ledger.
type ledgerRow struct {
	Stage   string `json:"stage"`
	Reason  string `json:"reason"`
	Packets uint64 `json:"packets"`
	Lost    bool   `json:"lost"`
}

// drops asks where packets were lost, once the ledger has seen all that arrived: it
// is looked at once a second.
func drops(socket string, arrived uint64) ([]report.Drop, error) {
	var answer struct {
		Rows []ledgerRow `json:"rows"`
		Gaps []struct {
			Between string `json:"between"`
			Packets int64  `json:"packets"`
		} `json:"gaps"`
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		page, err := ask.Control(socket, "/ledger")
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(page, &answer); err != nil {
			return nil, fmt.Errorf("ask ringside where packets were lost: %w", err)
		}
		if seen(answer.Rows) >= arrived {
			break
		}
		if time.Now().After(deadline) {
			return nil, errors.New("ask ringside where packets were lost: its ledger has not seen all that arrived after 5 s")
		}
	}
	var out []report.Drop
	for _, r := range answer.Rows {
		if r.Lost && r.Packets > 0 {
			out = append(out, report.Drop{Stage: r.Stage, Reason: r.Reason, Packets: r.Packets})
		}
	}
	for _, g := range answer.Gaps {
		if g.Packets > 0 {
			out = append(out, report.Drop{Stage: "between", Reason: g.Between, Packets: uint64(g.Packets)})
		}
	}
	return out, nil
}

// seen is what a ledger says that the interface has received.
func seen(rows []ledgerRow) (n uint64) {
	for _, r := range rows {
		if r.Stage == "nic" && r.Reason == "received" {
			n += r.Packets
		}
	}
	return n
}

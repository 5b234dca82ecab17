package suite

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"ringside/bench/report"
)

// ledgerRow is what counts here of a row of the answer to GET /ledger.
type ledgerRow struct {
	Stage   string `json:"stage"`
	Reason  string `json:"reason"`
	Packets uint64 `json:"packets"`
	Lost    bool   `json:"lost"`
}

// ask asks the control socket of a running ringside. It speaks HTTP/1.0, in which
// an answer ends with its connection.
func ask(socket, path string, to any) error {
	c, err := net.DialTimeout("unix", socket, 5*time.Second)
	if err != nil {
		return fmt.Errorf("ask ringside: %w", err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return fmt.Errorf("ask ringside: %w", err)
	}
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.0\r\n\r\n"); err != nil {
		return fmt.Errorf("ask ringside: %w", err)
	}
	b, err := io.ReadAll(bufio.NewReader(c))
	if err != nil {
		return fmt.Errorf("ask ringside: %w", err)
	}
	head, body, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	first, _, _ := strings.Cut(string(head), "\r\n")
	if !ok || !strings.Contains(first, " 200 ") {
		return fmt.Errorf("ask ringside for %s: it answers %q", path, first)
	}
	if err := json.Unmarshal(body, to); err != nil {
		return fmt.Errorf("ask ringside for %s: %w", path, err)
	}
	return nil
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
		if err := ask(socket, "/ledger", &answer); err != nil {
			return nil, err
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

package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"ringside/flow/record"
)

// crashPath tells a copy of the test program to be the one that is killed.
const crashPath = "RINGSIDE_STORE_CRASH_PATH"

const crashBatch = 20 // calls

// crashCall is call j of batch i, which is its sensor.
func crashCall(t testing.TB, i, j int) *record.Call {
	c := fullCall(t, int64(1+i*crashBatch+j))
	c.Sensor = uint16(i)
	return c
}

// TestCrashChild stores batches until it is killed, and says so after each.
func TestCrashChild(t *testing.T) {
	path := os.Getenv(crashPath)
	if path == "" {
		t.Skip("only run by TestCrash")
	}
	s := open(t, path)
	for i := range 10000 {
		var b Batch
		for j := range crashBatch {
			b.Calls = append(b.Calls, crashCall(t, i, j))
			b.Orphans = append(b.Orphans, orphan(i*crashBatch+j))
		}
		if err := s.Insert(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		fmt.Println(i)
	}
}

// TestCrash kills a program that stores batches, and expects every batch that
// it said was stored, and no part of another.
func TestCrash(t *testing.T) {
	for _, after := range []int{1, 12} {
		t.Run(fmt.Sprintf("after %d batches", after), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "calls.db")
			said := crash(t, path, after)
			if said < after {
				t.Fatalf("the program ended by itself after %d batches", said)
			}
			checkWholeBatches(t, path, said)
		})
	}
}

// crash starts the program and kills it once it has stored some batches, and
// returns how many it said it had.
func crash(t *testing.T, path string, after int) (said int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
	cmd.Env = append(os.Environ(), crashPath+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var i int
		if _, err := fmt.Sscan(lines.Text(), &i); err != nil {
			continue // the test program's own words
		}
		if said = i + 1; said == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the program was not killed")
	}
	return said
}

func checkWholeBatches(t *testing.T, path string, said int) {
	t.Helper()
	ctx := context.Background()
	s := open(t, path)
	n := rowCounts(t, s)
	batches := n["calls"] / crashBatch
	if batches < said {
		t.Errorf("%d batches, want the %d that were stored", batches, said)
	}
	calls := batches * crashBatch
	want := map[string]int{"calls": calls, "call_leg": 3 * calls, "call_message": 3 * calls, "call_media": 3 * calls, "stream": 4 * calls}
	for table, rows := range want {
		if n[table] != rows {
			t.Errorf("%d rows in %s, want %d", n[table], table, rows)
		}
	}
	for i := range batches {
		if n, err := s.Count(ctx, Filter{Sensors: []uint16{uint16(i)}}); err != nil || n != crashBatch {
			t.Errorf("%d calls of batch %d, error %v", n, i, err)
		}
	}
	var verdict string
	if err := s.read.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity check: %s, error %v", verdict, err)
	}
	// The program that died sends its last batch again.
	for j := range crashBatch {
		insert(t, s, crashCall(t, batches-1, j))
	}
	if again := rowCounts(t, s)["calls"]; again != calls {
		t.Errorf("%d calls after the last batch came again, want %d", again, calls)
	}
}

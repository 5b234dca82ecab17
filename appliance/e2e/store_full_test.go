package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringside/bench/traffic"
)

// TestFullDatabaseDisk: the disk of the database is full for a while. Records wait
// in the queue, on another disk; once there is room they are stored without
// anybody doing anything, and all is true.
func TestFullDatabaseDisk(t *testing.T) {
	withoutRace(t)
	t.Run("sqlite", func(t *testing.T) {
		volume := smallVolume(t, "32m")
		fullDisk(t, volume, inFile(filepath.Join(volume, "calls.db")), false)
	})
	t.Run("sqlite, full from the start", func(t *testing.T) {
		volume := smallVolume(t, "32m")
		fullDisk(t, volume, inFile(filepath.Join(volume, "calls.db")), true)
	})
	for name, empty := range map[string]bool{"mariadb": false, "mariadb, full from the start": true} {
		t.Run(name, func(t *testing.T) {
			volume := smallVolume(t, "300m")
			ok(t, os.Chmod(filepath.Dir(volume), 0o755)) // which the account of the server shall pass
			t.Setenv("TMPDIR", volume)
			server := startMariaDB(t, "--innodb-log-file-size=16M", "--innodb-buffer-pool-size=16M")
			fullDisk(t, volume, onServer(server, "ringside"), empty)
		})
	}
}

// fullDisk fills the volume for half of some traffic; of a store that is empty, for
// the first half, so that not even the schema can be made.
func fullDisk(t *testing.T, volume string, at place, empty bool) {
	elsewhere, err := os.MkdirTemp("/var/tmp", "ringside-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(elsewhere) })
	queue, records := filepath.Join(elsewhere, "queue"), filepath.Join(elsewhere, "records.json")
	path, truth := generate(t, traffic.Options{
		Seed: 91, Calls: 600, Rate: 5, Talk: traffic.Length{Mean: time.Second}, RTCP: true, Digits: 0.5, Format: traffic.PcapNano, Background: 1,
	})
	capture := readFile(t, path)
	waiting := func() bool { return len(filesOf(t, queue, ".queue")) > 0 }
	stored := func() string { return strings.TrimSpace(at.sql(t, "SELECT COUNT(*) FROM calls")) }
	filler, before, full := filepath.Join(volume, "filler"), "no", "no"
	if empty {
		fill(t, filler, 1<<30)
	} else {
		makeSchema(t, at.db)
	}
	f := feed(t, capture, "--db", at.db, "--queue", queue, "--json", records, "--workers", "2")
	quarter := len(capture) / 4
	if !empty {
		f.give(t, quarter, 5, 100*time.Millisecond)
		holdsSoon(t, "calls are in the store", func() bool { return stored() != "0" })
		before = stored()
		fill(t, filler, 1<<30)
	}
	f.give(t, 2*quarter, 20, 100*time.Millisecond)
	holdsSoon(t, "records wait in the queue", waiting)
	var waited int64
	for _, size := range filesOf(t, queue, ".queue") {
		waited += size
	}
	if !empty {
		full = stored()
	}
	ok(t, os.Remove(filler))
	began := time.Now()
	f.give(t, quarter/2, 5, 100*time.Millisecond)
	holdsSoon(t, "the queue is empty", func() bool { return !waiting() })
	t.Logf("%s calls were stored before the disk was full, %s at its end; %d bytes of records waited, and were gone %v after there was room", before, full, waited, time.Since(began).Round(time.Millisecond))
	if summary := f.end(t); strings.Contains(summary, "NOT BALANCE") {
		t.Errorf("the ledger does not balance:\n%s", summary)
	}
	if said := f.errs.String(); strings.Contains(said, "wait in") || strings.Contains(said, "parked") {
		t.Errorf("something is left: %s", said)
	}
	checkStored(t, at, records, truth)
	if at.name == "sqlite" {
		if says := at.sql(t, "PRAGMA integrity_check"); says != "ok\n" {
			t.Errorf("the file is damaged: %s", says)
		}
		return
	}
	for _, row := range at.rowsOf(t, "CHECK TABLE calls, stream, call_leg, call_message, call_media, registration, exchange, event") {
		if row[len(row)-1] != "OK" {
			t.Errorf("table is damaged: %s", fmt.Sprint(row))
		}
	}
}

// TestDiskFullOfSchema: the disk of a server becomes full while the schema is being
// made. What is there of it is completed once there is room.
func TestDiskFullOfSchema(t *testing.T) {
	withoutRace(t)
	path, truth := someTraffic(t, 92)
	records := filepath.Join(t.TempDir(), "records.json")
	ringside(t, 0, "read", "--quiet", "--json", records, path)
	volume := smallVolume(t, "300m")
	ok(t, os.Chmod(filepath.Dir(volume), 0o755)) // which the account of the server shall pass
	elsewhere := t.TempDir()
	t.Setenv("TMPDIR", volume)
	server := startMariaDB(t, "--innodb-log-file-size=16M", "--innodb-buffer-pool-size=16M")
	filler := filepath.Join(volume, "filler")
	// With some 7 MB the last table is being partitioned when there is no more room,
	// of which InnoDB of MariaDB 10.11 dies, or loses the table.
	for _, room := range []int64{100 << 10, 300 << 10, 1 << 20, 2 << 20, 4 << 20, 6 << 20} {
		t.Run(fmt.Sprint(room), func(t *testing.T) {
			at := onServer(server, fmt.Sprintf("room_%d", room))
			fill(t, filler, 1<<30)
			i, err := os.Stat(filler)
			ok(t, err)
			defer os.Remove(filler) // for the others, if this one fails
			ok(t, os.Truncate(filler, i.Size()-room))
			queue := filepath.Join(elsewhere, t.Name())
			_, said := ringside(t, 0, "read", "--quiet", "--db", at.db, "--queue", queue, path)
			t.Logf("%d bytes free: %.300q", room, said)
			ok(t, os.Remove(filler))
			ringside(t, 0, "store", "retry", "--db", at.db, "--queue", queue)
			checkStored(t, at, records, truth)
			at.sql(t, "DROP DATABASE "+fmt.Sprintf("room_%d", room))
		})
	}
}

package e2e

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringside/bench/traffic"
	"ringside/flow/record"
	"ringside/writer/store"
)

// smallVolume mounts a volume of memory.
func smallVolume(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small volume: a full disk is not tried")
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no small volume can be mounted, a full disk is not tried: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v: %s", dir, err, out)
		}
	})
	return dir
}

// fed is a read of a capture that a test hands out bit by bit.
type fed struct {
	in      io.WriteCloser
	rest    []byte
	process *exec.Cmd
	out     bytes.Buffer
	errs    bytes.Buffer
}

func feed(t *testing.T, capture []byte, args ...string) *fed {
	t.Helper()
	f := &fed{rest: capture, process: process(append(append([]string{"read", "--utc"}, args...), "-")...)}
	f.process.Stdout, f.process.Stderr = &f.out, &f.errs
	var err error
	if f.in, err = f.process.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := f.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.process.Process.Kill() }) // where the test has failed
	return f
}

// give hands out a share of the capture, in steps with a pause behind each.
func (f *fed) give(t *testing.T, n, steps int, pause time.Duration) {
	t.Helper()
	n = min(n, len(f.rest))
	for i := range steps {
		part := n/steps + (n%steps)*(i/(steps-1))
		if _, err := f.in.Write(f.rest[:part]); err != nil {
			t.Fatalf("ringside ended early: %v: %s", err, f.errs.String())
		}
		f.rest = f.rest[part:]
		time.Sleep(pause)
	}
}

// end hands out the rest and waits for the summary.
func (f *fed) end(t *testing.T) string {
	t.Helper()
	_, err := f.in.Write(f.rest)
	if err = errors.Join(err, f.in.Close()); err != nil {
		t.Fatal(err)
	}
	if err := f.process.Wait(); err != nil {
		t.Errorf("%v: %s", err, f.errs.String())
	}
	return f.out.String()
}

// holdsSoon waits until something is so, which it is sooner or later.
func holdsSoon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 600 {
		if is() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s: it never is", what)
}

// filesOf are the files under dir that have some bytes and pattern in their
// names: the sizes by the names that segments have when they are closed.
func filesOf(t *testing.T, dir, pattern string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			return nil
		}
		if err != nil || d.IsDir() || !strings.Contains(filepath.Base(path), pattern) {
			return err
		}
		if i, err := d.Info(); err == nil && i.Size() > 0 {
			out[filepath.Join(filepath.Dir(path), strings.TrimPrefix(filepath.Base(path), "."))] = i.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// anew reports whether there is a file that was not there before.
func anew(before, now map[string]int64) bool {
	for path := range now {
		if _, ok := before[path]; !ok {
			return true
		}
	}
	return false
}

// fill makes a file so large, or as large as it can be.
func fill(t *testing.T, path string, size int) {
	t.Helper()
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// TestSpoolFull: the spool and the database lie on a volume that others fill. First
// RTP is given up, then signalling; records wait in the queue, which lies
// elsewhere; all goes on by itself when there is room again, and the records are
// the truth.
func TestSpoolFull(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits for disks to be looked at")
	}
	volume := smallVolume(t, "64m")
	spool, db, queue := filepath.Join(volume, "spool"), filepath.Join(volume, "calls.db"), filepath.Join(t.TempDir(), "queue")
	if err := os.Mkdir(spool, 0o750); err != nil {
		t.Fatal(err)
	}
	path, truth := generate(t, traffic.Options{
		Seed: 51, Calls: 300, Rate: 0.5, Talk: traffic.Length{Mean: 4 * time.Second}, RTCP: true, Format: traffic.PcapNano, Background: 1,
	})
	capture, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	records := filepath.Join(t.TempDir(), "records.json")
	f := feed(t, capture, "--spool", spool, "--spool-reserve", "32MiB", "--db", db, "--queue", queue, "--json", records, "--workers", "2")
	quarter := len(capture) / 4

	f.give(t, quarter, 10, 50*time.Millisecond)
	holdsSoon(t, "media is in the spool", func() bool { return len(filesOf(t, spool, "-rtp-")) > 1 && len(filesOf(t, spool, "-sip-")) > 1 })

	// Less free than the reserve, more than half of it: segments are removed, and
	// RTP is not stored any more.
	filler := filepath.Join(volume, "filler")
	media, signalling := filesOf(t, spool, "-rtp-"), filesOf(t, spool, "-sip-")
	fill(t, filler, 34<<20)
	holdsSoon(t, "segments of media are removed", func() bool { return len(filesOf(t, spool, "-rtp-")) < len(media) })
	f.give(t, quarter, 10, 50*time.Millisecond)
	holdsSoon(t, "signalling is stored on", func() bool { return anew(signalling, filesOf(t, spool, "-sip-")) })
	if now := filesOf(t, spool, "-rtp-"); anew(media, now) {
		t.Errorf("media is stored beyond the reserve: %v", now)
	}

	// Nothing is free, for the database neither.
	fill(t, filler, 64<<20)
	f.give(t, quarter, 10, 200*time.Millisecond)
	holdsSoon(t, "records wait in the queue", func() bool { return len(filesOf(t, queue, "")) > 0 })
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	f.give(t, quarter*9/10, 60, 500*time.Millisecond)
	summary := f.end(t)
	if strings.Contains(summary, "NOT BALANCE") || !strings.Contains(summary, "disk-failed") {
		t.Errorf("the ledger does not balance, or lost nothing:\n%s", summary)
	}
	t.Log(summary[strings.Index(summary, "and of the packets for the spool"):])

	var orphans []*record.Stream
	calls := readRecords(t, records, &orphans)
	differ(t, traffic.Compare(truth, calls, orphans))
	ringside(t, 0, "store", "retry", "--db", db, "--queue", queue)
	s, err := store.Open(t.Context(), store.Options{Path: db})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	lost := 0
	for _, c := range calls {
		if got, err := s.CallsByCallID(t.Context(), c.CallID); err != nil || len(got) != 1 || got[0].ID != c.ID {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d calls are not in the store, once", lost, len(calls))
	}

	// The last calls are stored again, whole.
	in := &spooled{dir: spool}
	c := cutCapture(t, path)
	for _, r := range calls[len(calls)-5:] {
		must, may := c.wanted(r.CallID, []*record.Call{r})
		if diff := c.compareCall(in.export(t, r.CallID), must, may); diff != "" {
			t.Errorf("a call after there was room again: %s: %s", r.CallID, diff)
		}
	}
	ringside(t, 0, "spool", "check", spool)
}

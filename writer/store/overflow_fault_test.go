package store

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringside/bench/mariadb"
	"ringside/flow/record"
	"ringside/writer/queue"
)

// smallCall is a call of three rows.
func smallCall(id int64) *record.Call {
	return &record.Call{
		ID: id, CallID: fmt.Sprintf("%d@example.com", id), Start: 1_700_000_000_000_000_000 + id, VLAN: -1,
		Messages: []record.Message{{Time: id, Method: "INVITE"}, {Time: id + 1, Method: "BYE"}},
	}
}

// storedIDs is how often each call is stored; each must have its two messages.
func storedIDs(t testing.TB, s *Store) map[int64]int {
	t.Helper()
	out := make(map[int64]int)
	rows, err := s.read.Query("SELECT c.id, (SELECT COUNT(*) FROM call_message m WHERE m.start_at = c.start_at AND m.id = c.id) FROM calls c")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var messages int
		if err := rows.Scan(&id, &messages); err != nil {
			t.Fatal(err)
		}
		if out[id]++; messages != 2 {
			t.Errorf("call %d has %d messages", id, messages)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// checkStored wants the calls [0, n), each once, and nothing else.
func checkStored(t testing.TB, s *Store, n int64) {
	t.Helper()
	ids := storedIDs(t, s)
	for id := range n {
		if ids[id] != 1 {
			t.Errorf("call %d is stored %d times", id, ids[id])
		}
	}
	if len(ids) != int(n) {
		t.Errorf("%d calls are stored, want %d", len(ids), n)
	}
}

// real is a Writer on a real store with an Overflow.
func real(t testing.TB, s *Store, dir string) *Writer {
	t.Helper()
	return NewWriter(s, WriterOptions{
		Overflow: overflow(t, OverflowOptions{Dir: dir}), SyncAge: 10 * time.Second, // however busy this machine is
		firstWait: 5 * time.Millisecond, longWait: 50 * time.Millisecond,
	})
}

// TestWriterLocked has another process hold the lock of the database.
func TestWriterLocked(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "calls.db")
	s, err := Open(ctx, Options{Path: path, BusyTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	other, err := sql.Open("sqlite", path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	w := real(t, s, t.TempDir())
	for id := range int64(500) {
		w.Add(smallCall(id))
	}
	if err := w.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if st := balanced(t, w); st.Queued != 500 || !st.Away {
		t.Errorf("%+v", st)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	until(t, "the queue is drained", func() bool { return w.Stats().Queued == 0 })
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	checkStored(t, s, 500)
}

// TestWriterBrokenColumn has the database reject some rows until it is mended.
func TestWriterBrokenColumn(t *testing.T) {
	ctx := context.Background()
	s := open(t, filepath.Join(t.TempDir(), "calls.db"))
	const broken = "CREATE TRIGGER broken BEFORE INSERT ON call_message WHEN NEW.id % 100 = 3 BEGIN SELECT RAISE(ABORT, 'column is broken'); END"
	if _, err := s.write.Exec(broken); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w := real(t, s, dir)
	for id := range int64(500) {
		w.Add(smallCall(id))
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if st := balanced(t, w); st.Parked != 5 || st.Calls != 495 || !strings.Contains(st.LastError, "column is broken") {
		t.Errorf("%+v", st)
	}
	if _, err := s.write.Exec("DROP TRIGGER broken"); err != nil {
		t.Fatal(err)
	}
	w = real(t, s, dir)
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if st := balanced(t, w); st.Parked != 0 || st.Calls != 5 {
		t.Errorf("once it is mended: %+v", st)
	}
	checkStored(t, s, 500)
}

// TestWriterDiskFull has the disk of the database fill up, and then gives it room.
func TestWriterDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("ringside-test", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a small disk is needed, and mounting one failed (run as root): %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	ctx := context.Background()
	s := open(t, filepath.Join(dir, "calls.db"))
	w := real(t, s, t.TempDir())
	const n = 8000
	for id := range int64(n) {
		w.Add(smallCall(id))
	}
	if err := w.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, "the disk is full", func() bool { return w.Stats().Away })
	if st := w.Stats(); st.Queued == 0 || st.Calls == 0 || !strings.Contains(st.LastError, "full") || st.Lost() > 0 {
		t.Errorf("with a full disk: %+v", st)
	}
	if err := syscall.Mount("ringside-test", dir, "tmpfs", syscall.MS_REMOUNT, "size=256m"); err != nil {
		t.Fatal(err)
	}
	until(t, "the queue is drained", func() bool { return w.Stats().Queued == 0 })
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if st := balanced(t, w); st.Calls != n || st.Lost() > 0 {
		t.Errorf("with room: %+v", st)
	}
	checkStored(t, s, n)
}

// TestWriterQueueDiskFull is the same with the disk of the queue.
func TestWriterQueueDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("ringside-test", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("a small disk is needed, and mounting one failed (run as root): %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	ctx := context.Background()
	db := &fakeDB{fail: gone}
	w := keeping(t, db, dir, WriterOptions{})
	addEvents(w, 0, 60000)
	st := w.Stats()
	if st.Queued == 0 || st.Refused == 0 {
		t.Errorf("with a full disk: %+v", st)
	}
	db.set(nil)
	if err := w.Close(ctx); err == nil || !strings.Contains(err.Error(), "refuse batch of") || !strings.Contains(err.Error(), "no space") {
		t.Errorf("error %v", err)
	}
	got := db.taken()
	slices.Sort(got)
	if got = slices.Compact(got); len(got) != int(w.Stats().Events) {
		t.Errorf("the database took %d records", len(got))
	}
	if st := balanced(t, w); st.Events+st.Refused != 60000 {
		t.Errorf("with the database back: %+v", st)
	}
}

// TestWriterServer begins with no server, which then comes, is killed and stopped
// under the records, and rejects some of them.
func TestWriterServer(t *testing.T) {
	if testing.Short() {
		t.Skip("a server is started and stopped")
	}
	server, err := mariadb.New(mariadb.NoSync)
	if errors.Is(err, mariadb.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer server.Remove()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(server.Stop())
	ctx := context.Background()
	s, err := Open(ctx, Options{Path: server.DSN("calls"), Lazy: true})
	must(err)
	defer s.Close()
	dir := t.TempDir()
	w := real(t, s, dir)
	next := int64(0)
	add := func(n int64) {
		for range n {
			w.Add(smallCall(next))
			next++
		}
	}
	drained := func() { until(t, "the queue is drained", func() bool { return w.Stats().Queued == 0 }) }

	add(1000)
	must(w.Flush(ctx))
	if st := balanced(t, w); st.Queued != 1000 || !st.Away {
		t.Errorf("with no server: %+v", st)
	}
	must(server.Start())
	drained()
	for _, end := range []func() error{server.Kill, server.Stop} {
		add(500)
		must(end()) // in the midst of it
		add(500)
		must(w.Flush(ctx))
		until(t, "the server is missed", func() bool { return w.Stats().Away })
		must(server.Start())
		drained()
	}
	_, err = s.write.Exec("ALTER TABLE call_message ADD CONSTRAINT broken CHECK (id <> 3500)")
	must(err)
	add(1000)
	must(w.Flush(ctx))
	until(t, "a record is rejected", func() bool { st := w.Stats(); return st.Queued == 0 && st.Parked == 1 })
	_, err = s.write.Exec("ALTER TABLE call_message DROP CONSTRAINT broken")
	must(err)
	must(w.Close(ctx))
	balanced(t, w)

	w = real(t, s, dir)
	must(w.Close(ctx))
	if st := balanced(t, w); st.Queued+st.Parked+st.Lost() > 0 {
		t.Errorf("after all: %+v", st)
	}
	checkStored(t, s, next)
}

// How the program that is killed is told what to do: the folder to work in, the
// number of its first call, and how it finds out what is safe.
const (
	killDir   = "RINGSIDE_STORE_KILL_DIR"
	killFirst = "RINGSIDE_STORE_KILL_FIRST"
	killMode  = "RINGSIDE_STORE_KILL_MODE"
)

// killSyncAge is the promise, and killSaid when a call is said to be safe: later,
// since this machine may be busy with other tests.
const (
	killSyncAge = 200 * time.Millisecond
	killSaid    = 3 * killSyncAge
)

// TestWriterKilledChild stores calls, and says which of them are safe, with a
// database that is away half of the time and hangs now and then.
func TestWriterKilledChild(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" {
		t.Skip("only run by TestWriterKilled")
	}
	first, err := strconv.ParseInt(os.Getenv(killFirst), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	s := open(t, filepath.Join(dir, "calls.db"))
	began := time.Now()
	w := NewWriter(s, WriterOptions{
		Overflow: overflow(t, OverflowOptions{Dir: filepath.Join(dir, "queue")}), SyncAge: killSyncAge,
		firstWait: 5 * time.Millisecond, longWait: 50 * time.Millisecond,
		try: func(ctx context.Context, b Batch) error {
			switch phase := time.Since(began) / (70 * time.Millisecond) % 5; phase {
			case 1, 3:
				return errGone
			case 4:
				time.Sleep(2 * killSyncAge)
			}
			return s.Insert(ctx, b)
		},
	})
	fmt.Println("begins")
	if os.Getenv(killMode) == "flush" {
		for id := first; ; id++ {
			if w.Add(smallCall(id)); id%50 == 0 {
				if err := w.Flush(ctx); err != nil {
					t.Fatal(err)
				}
				fmt.Println("safe", id)
				time.Sleep(5 * time.Millisecond)
			}
		}
	}
	added := make(chan time.Time, 1<<20)
	go func() {
		for range 100_000 {
			w.Add(smallCall(first))
			first++
			added <- time.Now()
			time.Sleep(100 * time.Microsecond)
		}
	}()
	for id := first; ; id++ {
		time.Sleep(killSaid - time.Since(<-added))
		fmt.Println("safe", id)
	}
}

// TestWriterKilled kills a program that stores calls, at random moments, again and
// again: in the end every call that it said was safe is stored, once.
func TestWriterKilled(t *testing.T) {
	rounds := 15
	if testing.Short() {
		rounds = 3
	}
	for _, mode := range []string{"flush", "age"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var safe [][2]int64 // ranges
			for round := range rounds {
				first := int64(1+round) * 1_000_000
				if last := killed(t, dir, mode, first); last > 0 {
					safe = append(safe, [2]int64{first, last})
				}
			}
			s := open(t, filepath.Join(dir, "calls.db"))
			w := real(t, s, filepath.Join(dir, "queue"))
			if err := w.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			if st := balanced(t, w); st.Queued+st.Parked+st.Lost() > 0 {
				t.Errorf("after all: %+v", st)
			}
			ids, n := storedIDs(t, s), 0
			for id, times := range ids {
				if times != 1 {
					t.Errorf("call %d is stored %d times", id, times)
				}
			}
			for _, r := range safe {
				for id := r[0]; id <= r[1]; id++ {
					if n++; ids[id] == 0 {
						t.Fatalf("call %d was said to be safe and is gone", id)
					}
				}
			}
			if n == 0 {
				t.Error("no call was said to be safe")
			}
			t.Logf("%d kills, %d calls were said to be safe, %d are stored", rounds, n, len(ids))
		})
	}
}

// killed runs the program for a while, and returns the last call that it said was
// safe, 0 for none.
func killed(t *testing.T, dir, mode string, first int64) (last int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestWriterKilledChild$")
	cmd.Env = append(os.Environ(), killDir+"="+dir, killMode+"="+mode, killFirst+"="+strconv.FormatInt(first, 10))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var id int64
		if _, err := fmt.Sscanf(lines.Text(), "safe %d", &id); err == nil {
			last = id
		} else if lines.Text() == "begins" {
			time.AfterFunc(killSaid+rand.N(600*time.Millisecond), func() { _ = cmd.Process.Kill() })
		} else {
			said = append(said, lines.Text())
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() >= 0 {
		t.Fatalf("the program ended by itself: %v: %s", err, strings.Join(said, "\n"))
	}
	return last
}

// BenchmarkOverflow keeps batches of full size on disk, and takes them back.
func BenchmarkOverflow(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	var batch Batch
	for i := range 71 { // 1,000 rows
		batch.Calls = append(batch.Calls, typicalCall(r, i))
	}
	data, err := encodeBatch(batch)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := encodeBatch(batch); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*batch.rows())/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decodeBatch(data); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*batch.rows())/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("keep", func(b *testing.B) {
		q, err := queue.Open(queue.Options{Dir: b.TempDir(), MaxBytes: 1 << 40})
		if err != nil {
			b.Fatal(err)
		}
		defer q.Close()
		over := &Overflow{queue: q}
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if err := over.keep(batch); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*batch.rows())/b.Elapsed().Seconds(), "rows/s")
	})
}

// BenchmarkWriter stores calls in SQLite: without an Overflow, with one that is not
// needed, and with a database that is away at first.
func BenchmarkWriter(b *testing.B) {
	const n = 3000
	r := rand.New(rand.NewPCG(1, 2))
	var calls []*record.Call
	for i := range n {
		calls = append(calls, typicalCall(r, i))
	}
	for _, mode := range []string{"plain", "overflow", "away"} {
		b.Run(mode, func(b *testing.B) {
			ctx := context.Background()
			rows, drain := 0, time.Duration(0)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				s := open(b, filepath.Join(b.TempDir(), "bench.db"))
				back := make(chan struct{})
				o := WriterOptions{Patient: true, firstWait: time.Millisecond, longWait: time.Millisecond}
				if mode != "plain" {
					o.Overflow = overflow(b, OverflowOptions{Dir: b.TempDir()})
				}
				if mode == "away" {
					o.try = func(ctx context.Context, batch Batch) error {
						select {
						case <-back:
							return s.Insert(ctx, batch)
						default:
							return errGone
						}
					}
				}
				w := NewWriter(s, o)
				b.StartTimer()
				for _, c := range calls {
					w.Add(c)
				}
				if err := w.Flush(ctx); err != nil {
					b.Fatal(err)
				}
				close(back)
				from := time.Now()
				if err := w.Close(ctx); err != nil {
					b.Fatal(err)
				}
				drain += time.Since(from)
				if st := w.Stats(); st.Calls != n {
					b.Fatalf("%+v", st)
				} else {
					rows += int(st.Rows)
				}
			}
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
			if mode == "away" {
				b.ReportMetric(float64(rows)/(b.Elapsed()-drain).Seconds(), "kept-rows/s")
				b.ReportMetric(float64(rows)/drain.Seconds(), "drained-rows/s")
			}
		})
	}
}

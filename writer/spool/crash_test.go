package spool

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
	"ringside/writer/compress"
	"ringside/writer/pcap"
)

// crashEnv names the directory that a child of TestKill spools into.
const crashEnv = "RINGSIDE_SPOOL_CRASH"

// crashStep is the time between two packets of the child: 1,200 make a minute.
const crashStep = int64(50 * time.Millisecond)

// spoolForever is the child: it numbers its packets by their time, and prints
// how many are surely in the files.
func spoolForever(dir string) {
	o := Options{Dir: dir, AllowRoot: true, Memory: 4 << 20, Writers: 2, Shards: 1, FlushAge: 20 * time.Millisecond, SyncAge: 50 * time.Millisecond,
		Limits: Limits{Reserve: 1 << 20}, Together: [Classes]int{SIP: 32 << 10}}
	s, err := Open(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	sh := s.Shard(0)
	// What earlier children have written is not counted again.
	n := 0
	if b, err := os.ReadFile(filepath.Join(dir, "next")); err == nil {
		n, _ = strconv.Atoi(string(b))
	}
	var tapes [8][2]Tape
	for ; ; n++ {
		at := t0 + int64(n)*crashStep
		i, c := n%8, Class(n/8%2)
		key := fmt.Sprintf("call-%d", i)
		p := pcap.Packet{Time: at, Data: sipFrame(key, n)}
		for !sh.Put(&tapes[i][c], c, key, at, frame.LinkEthernet, &p) {
			time.Sleep(time.Millisecond)
		}
		if n%300 == 299 {
			sh.Flush()
			s.Flush()
			fmt.Println(n + 1)
		}
	}
}

// A process that is killed at any moment leaves whole segments under their
// names; the hidden ones are closed by the next start; and what it said to have
// written is there, once.
func TestKill(t *testing.T) {
	if dir := os.Getenv(crashEnv); dir != "" {
		spoolForever(dir)
	}
	runs := 30
	if testing.Short() {
		runs = 4
	}
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	var dir string
	var kept map[int]bool // numbers that must be there
	next, recovered, promised := 0, 0, 0
	for i := range runs {
		if i%5 == 0 { // some kills on top of each other, and then anew
			dir, kept, next = t.TempDir(), map[int]bool{}, 0
		}
		if err := os.WriteFile(filepath.Join(dir, "next"), []byte(strconv.Itoa(next)), 0o644); err != nil {
			t.Fatal(err)
		}
		said := killed(t, dir, time.Duration(r.IntN(250))*time.Millisecond)
		for n := next; n < said; n++ {
			kept[n], promised = true, promised+1
		}
		// A segment that has its name is whole before anything is recovered.
		wholeSegments(t, dir, i%15 == 4)
		s := open(t, Options{Dir: dir})
		for _, r := range s.Recovered() {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			recovered++
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		next = checkNumbers(t, dir, kept)
	}
	wholeSegments(t, dir, true)
	t.Logf("%d kills, %d segments were closed by the next start, %d packets promised", runs, recovered, promised)
	if recovered == 0 {
		t.Error("no kill left a hidden segment")
	}
}

// killed runs the child for a while beyond its first line, kills it, and
// returns the last number it said.
func killed(t *testing.T, dir string, after time.Duration) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestKill$")
	cmd.Env = append(os.Environ(), crashEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	said := 0
	for lines.Scan() {
		if said == 0 {
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
		if n, err := strconv.Atoi(lines.Text()); err == nil {
			said = n
		}
	}
	_ = cmd.Wait() // it was killed
	if said == 0 {
		t.Fatal("the child said nothing")
	}
	return said
}

// wholeSegments checks all segments that have their name, some with other
// programs.
func wholeSegments(t *testing.T, dir string, tools bool) {
	t.Helper()
	list, err := List(OS, dir)
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for at, i := range list {
		if i.Hidden {
			continue
		}
		if i.Err != nil {
			t.Fatalf("%s: %v", i.Path(), i.Err)
		}
		if err := Check(OS, dir, i.Name); err != nil {
			t.Fatalf("check %s: %v", i.Path(), err)
		}
		if tools && (looked < 2 || at > len(list)-2) {
			looked++
			countWithTools(t, filepath.Join(dir, i.Path()), i)
		}
	}
}

// countWithTools lets zstd, tshark and capinfos say how many packets there are.
func countWithTools(t *testing.T, path string, i Info) {
	t.Helper()
	direct := path // what the tools open themselves
	switch i.Format {
	case compress.Gzip:
		run(t, nil, "gzip", "-t", path)
	case compress.Zstd, compress.LZ4: // Wireshark 4.0 opens these up to 128 KiB
		direct = filepath.Join(t.TempDir(), "plain.pcapng")
		run(t, nil, i.Format.String(), "-tq", path)
		if err := os.WriteFile(direct, run(t, nil, i.Format.String(), "-dcq", path), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Count(string(run(t, nil, "tshark", "-n", "-r", direct, "-T", "fields", "-e", "frame.number")), "\n")
	if uint64(lines) != i.Packets {
		t.Errorf("tshark reads %d packets of %s, the index has %d", lines, path, i.Packets)
	}
	fields := strings.Fields(string(run(t, nil, "capinfos", "-c", "-M", "-T", "-r", direct)))
	if len(fields) == 0 || fields[len(fields)-1] != fmt.Sprint(i.Packets) {
		t.Errorf("capinfos says %q of %s, the index has %d", fields, path, i.Packets)
	}
}

// checkNumbers looks whether all packets that must be there are, none twice,
// and returns a number behind them all.
func checkNumbers(t *testing.T, dir string, kept map[int]bool) int {
	t.Helper()
	var keys []string
	for i := range 8 {
		keys = append(keys, fmt.Sprintf("call-%d", i))
	}
	seen, next := map[int]bool{}, 0
	if _, err := FetchDir(context.Background(), OS, dir, Query{Keys: keys}, func(p *pcap.Packet, _ pcap.Interface, _ string) error {
		n := int((p.Time - t0) / crashStep)
		if seen[n] {
			t.Errorf("packet %d is there twice", n)
		}
		seen[n], next = true, max(next, n+1)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for n := range kept {
		if !seen[n] {
			t.Fatalf("packet %d was written, and is lost", n)
		}
	}
	return next
}

// mount mounts a file system for a test, or skips it.
func mount(t *testing.T, what, dir, kind, options string) {
	t.Helper()
	if err := unix.Mount(what, dir, kind, 0, options); err != nil {
		t.Skipf("mounting %s is not possible here: %v", kind, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// On a real volume that somebody else fills spooling thins and stops, the
// reservation is given back, and all goes on by itself when there is room.
func TestFullVolume(t *testing.T) {
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", "size=48m")
	s := open(t, Options{Dir: dir, Memory: 2 << 20, Limits: Limits{Reserve: 16 << 20, Reservation: 2 << 20}})
	if d := strings.Join(s.Describe(), "\n"); !strings.Contains(d, "all of it is lost when the machine stops") {
		t.Errorf("no warning of tmpfs: %s", d)
	}
	stored := func() (sip, rtp bool) {
		before := s.Stats()
		fill(t, s.Shard(0), rand.New(rand.NewPCG(1, 1)), 5, 200, time.Second)
		s.Shard(0).Flush()
		s.Flush()
		after := s.Stats()
		return after.Stored[SIP].Packets > before.Stored[SIP].Packets, after.Stored[RTP].Packets > before.Stored[RTP].Packets
	}
	filler := filepath.Join(dir, "filler")
	for _, tc := range []struct {
		name     string
		fill     int64
		sip, rtp bool
		reserved int64
	}{{"empty", 0, true, true, 2 << 20}, {"reserve touched", 34 << 20, true, false, 2 << 20}, {"half of it gone", 42 << 20, false, false, 2 << 20},
		{"full", 1 << 40, false, false, 0}, {"empty again", 0, true, true, 2 << 20}} {
		t.Run(tc.name, func(t *testing.T) {
			_ = os.Remove(filler)
			if err := fillUp(filler, tc.fill); err != nil {
				t.Fatal(err)
			}
			s.Keep()
			sip, rtp := stored()
			if st := s.Stats(); sip != tc.sip || rtp != tc.rtp || st.Reserved != tc.reserved {
				t.Errorf("sip stored %v, rtp stored %v, %d reserved, want %v, %v, %d", sip, rtp, st.Reserved, tc.sip, tc.rtp, tc.reserved)
			}
			if space, err := OS.Space(dir); tc.name == "full" && (err != nil || space.Free < 1<<20) {
				t.Errorf("databases and logs have %d bytes, %v", space.Free, err)
			}
		})
	}
}

// fillUp writes a file of so many bytes, or as many as there is room for.
func fillUp(path string, bytes int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1<<20)
	for ; bytes > 0; bytes -= int64(len(b)) {
		if _, err := f.Write(b); err != nil {
			return nil // it is full
		}
	}
	return nil
}

// A disk that is full before Keep has noticed costs what did not fit, and
// nothing else.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", "size=8m")
	c := &clock{now: time.Unix(0, t0)}
	s := open(t, Options{Dir: dir, Memory: 4 << 20, Now: c.Now, Limits: Limits{Reserve: 64 << 10, Reservation: -1}})
	sh := s.Shard(0)
	put := 0
	for range 40 {
		put += len(fill(t, sh, rand.New(rand.NewPCG(1, 1)), 5, 2000, 10*time.Second))
		sh.Flush()
		s.Flush()
	}
	if st := s.Stats(); st.Stopped == nil || sum(st.Lost) == 0 {
		t.Fatalf("8 MiB are not full: %+v", st)
	}
	before := s.Stats()
	if err := enlarge(dir); err != nil {
		t.Fatal(err)
	}
	until(t, "writing again", func() bool { c.add(longWait); s.Keep(); return s.Stats().Stopped == nil && !s.Stats().Short })
	put += len(fill(t, sh, rand.New(rand.NewPCG(1, 1)), 5, 200, time.Second))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if sum(st.Stored)-sum(before.Stored) < 200 || sum(st.Stored)+sum(st.Lost) != uint64(put) {
		t.Errorf("%d put, %d stored, %d lost; before there was room %d stored", put, sum(st.Stored), sum(st.Lost), sum(before.Stored))
	}
	found(t, dir) // each is whole
}

// enlarge makes room, as an administrator does.
func enlarge(dir string) error {
	return unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=16m")
}

// A volume that is unmounted while segments are open, and mounted again: its
// directory below is not written to, and spooling goes on.
func TestUnmount(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(image)
	if err == nil {
		err = f.Truncate(64 << 20)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close() // its length is all it has
	run(t, nil, "mkfs.ext4", "-q", image)
	attach := func() {
		if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
			t.Skipf("mounting a loop device is not possible here: %v: %s", err, out)
		}
	}
	attach()
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	c := &clock{now: time.Unix(0, t0)}
	s := open(t, Options{Dir: dir, Now: c.Now})
	put := func(minutes int64) int {
		all := fill(t, s.Shard(0), rand.New(rand.NewPCG(1, 1)), 5, 300, time.Second*time.Duration(60*minutes))
		s.Shard(0).Flush()
		s.Flush()
		return len(all)
	}
	put(2)
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	s.Keep()
	lost := sum(s.Stats().Lost)
	n := put(1)
	if st := s.Stats(); !st.Away || sum(st.Lost)-lost != uint64(n) {
		t.Errorf("away: %v; %d of %d lost", st.Away, sum(st.Lost)-lost, n)
	}
	if below, _ := os.ReadDir(dir); len(below) > 0 {
		t.Errorf("written below the mount point: %v", below)
	}
	attach()
	s.Keep()
	until(t, "writing again", func() bool { c.add(longWait); s.Keep(); return s.Stats().Stopped == nil && !s.Stats().Away })
	before := sum(s.Stats().Stored)
	n = put(1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if sum(st.Stored)-before != uint64(n) || found(t, dir) < sum(st.Stored) {
		t.Errorf("%d of %d stored after it came back; %d found, %d stored in all", sum(st.Stored)-before, n, found(t, dir), sum(st.Stored))
	}
}

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ringside/appliance/daemon"
	"ringside/bench/netns"
	"ringside/bench/replay"
	"ringside/flow/record"
)

// Commands of bpf(2) that find the object with the next higher id (enum bpf_cmd),
// by the word that fdinfo has for such an id.
var nextID = map[string]uintptr{"prog_id": 11, "map_id": 12, "link_id": 31}

// object is something that the kernel holds of BPF. Ids are given in turn: none
// is soon given again.
type object struct {
	kind string
	id   uint32
}

// held reports whether the kernel still has an object.
func (o object) held(t *testing.T) bool {
	t.Helper()
	attr := struct{ start, next, flags uint32 }{start: o.id - 1} // the beginning of union bpf_attr
	_, _, errno := unix.Syscall(unix.SYS_BPF, nextID[o.kind], uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 && errno != unix.ENOENT {
		t.Fatalf("look for %v: %v", o, errno)
	}
	return errno == 0 && attr.next == o.id
}

var objectLine = regexp.MustCompile(`(?m)^(prog_id|map_id|link_id):\s+(\d+)$`)

// objectsOf are the objects that a process has descriptors of.
func objectsOf(t *testing.T, pid int) map[object]bool {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[object]bool)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range objectLine.FindAllStringSubmatch(string(text), -1) {
			id, err := strconv.ParseUint(m[2], 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			out[object{m[1], uint32(id)}] = true
		}
	}
	return out
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for a minute: %s", what)
		}
	}
}

// settings are what a capture changes of the interface at B: its offloads, and
// whether it is promiscuous.
func settings(t *testing.T, l *netns.Link) (offloads, promiscuity string) {
	t.Helper()
	b := l.Side(netns.B)
	out, err := l.Command(t.Context(), netns.B, "ethtool", "-k", b.Iface).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	link, err := l.Command(t.Context(), netns.B, "ip", "-d", "link", "show", "dev", b.Iface).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, link)
	}
	_, after, _ := strings.Cut(string(link), "promiscuity ")
	promiscuity, _, _ = strings.Cut(after, " ")
	return string(out), promiscuity
}

// TestLiveLeavesNothing: a capture that was ended, in order or by kill -9 and under
// traffic, leaves no program, map, link or promiscuous mode behind, and in
// order the offloads as they were.
func TestLiveLeavesNothing(t *testing.T) {
	path, _ := generate(t, everyScenario(8))
	frames := framesOf(t, path)
	for _, tc := range []struct {
		name   string
		args   []string
		signal syscall.Signal
	}{
		{"XDP, ended", []string{"--dedicated"}, syscall.SIGTERM},
		{"XDP, killed", []string{"--dedicated"}, syscall.SIGKILL},
		{"generic XDP, killed", []string{"--dedicated", "--xdp", "generic", "--rings", "3"}, syscall.SIGKILL},
		{"steered, ended", []string{"--dedicated", "--rings", "2", "--steer", "cpu"}, syscall.SIGTERM},
		{"steered, killed", []string{"--dedicated", "--rings", "2", "--steer", "cpu"}, syscall.SIGKILL},
		{"stored, killed", append(storing(t), "--dedicated"), syscall.SIGKILL},
		{"shared, ended", nil, syscall.SIGTERM},
		{"shared, killed", nil, syscall.SIGKILL},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := wire(t, 2)
			if out, err := l.Command(t.Context(), netns.B, "ethtool", "-K", l.Side(netns.B).Iface, "gro", "on", "gso", "on", "tso", "on").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			before, calm := settings(t, l)
			v := listen(t, l, tc.args...)
			during, promiscuous := settings(t, l)
			if len(tc.args) > 0 && during == before || promiscuous == calm {
				t.Errorf("nothing was changed: offloads\n%s, promiscuity %s", during, promiscuous)
			}
			objects := objectsOf(t, v.cmd.Process.Pid)
			kinds := make(map[string]int)
			for o := range objects {
				kinds[o.kind]++
				if !o.held(t) {
					t.Errorf("%v is not found while it is in use", o)
				}
			}
			if kinds["prog_id"] == 0 || kinds["map_id"] == 0 || (kinds["link_id"] == 0) != (len(tc.args) == 0) {
				t.Errorf("it holds %v", kinds)
			}
			s := endless(t, l, frames, 5000)
			received(t, l, v, netns.B, 1000)
			if err := v.cmd.Process.Signal(tc.signal); err != nil {
				t.Fatal(err)
			}
			if err := <-v.ended; (err == nil) != (tc.signal == syscall.SIGTERM) {
				t.Errorf("%v: it said\n%s", err, v.err)
			}
			s.halt(t)
			// The kernel frees them when no CPU can be at work on them any more.
			for o := range objects {
				eventually(t, fmt.Sprintf("%v is gone", o), func() bool { return !o.held(t) })
			}
			if attached(t, l) {
				t.Error("a program is attached")
			}
			after, calmed := settings(t, l)
			if calmed != calm {
				t.Errorf("promiscuity %s, %s before", calmed, calm)
			}
			if tc.signal == syscall.SIGTERM && after != before {
				t.Errorf("offloads before\n%s\nand after\n%s", before, after)
			}
		})
	}
}

// inventory is what a process holds that a capture may forget to give back.
func inventory(t *testing.T) (descriptors, mappings map[string]int) {
	t.Helper()
	descriptors, mappings = make(map[string]int), make(map[string]int)
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(to, "/proc/") { // the list's own is gone
			kind, _, _ := strings.Cut(to, "[")
			descriptors[kind]++
		}
	}
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 5 && (strings.HasPrefix(f[5], "socket:") || strings.HasPrefix(f[5], "anon_inode:")) {
			kind, _, _ := strings.Cut(f[5], "[")
			mappings[kind]++
		}
	}
	return descriptors, mappings
}

// collect waits until the garbage collector has unmapped the variables of programs
// that are gone: cilium/ebpf leaves that to it.
func collect(t *testing.T) {
	t.Helper()
	eventually(t, "no variable of a program is mapped", func() bool {
		runtime.GC()
		_, mappings := inventory(t)
		return mappings["anon_inode:bpf-map"] == 0
	})
}

// TestLiveGivesBack: a capture in this process gives all back when it ends:
// goroutines, descriptors, mappings, objects of the kernel.
func TestLiveGivesBack(t *testing.T) {
	path, _ := generate(t, everyScenario(4))
	frames := framesOf(t, path)
	l := wire(t, 2)
	for _, tc := range []struct {
		name   string
		change func(*daemon.LiveOptions)
	}{
		{"XDP", func(o *daemon.LiveOptions) { o.Dedicated, o.KernelMeter = true, true }},
		{"XDP, stored", func(o *daemon.LiveOptions) {
			o.Dedicated, o.KernelMeter = true, true
			o.Spool = &daemon.SpoolOptions{Dir: storing(t)[1], AllowRoot: true, Memory: 32 << 20}
		}},
		{"shared, three rings", func(o *daemon.LiveOptions) { o.Rings = 3 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run := func() {
				o := daemon.LiveOptions{Interfaces: []string{l.Side(netns.B).Iface}}
				o.Rings, o.Dedup = 2, "off"
				calls := 0
				o.Call = func(*record.Call) { calls++ }
				tc.change(&o)
				r := runLive(t, l, o, func() { send(t, l, frames, replay.Options{PPS: 5000, Retry: true}) })
				if !r.Balanced || calls == 0 {
					t.Errorf("%d calls, %v %v", calls, r.Gaps, r.Rows)
				}
			}
			run() // what is made once stays
			collect(t)
			goroutines := runtime.NumGoroutine()
			descriptors, mappings := inventory(t)
			objects := objectsOf(t, os.Getpid())
			for range 2 {
				run()
			}
			collect(t)
			eventually(t, "goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines })
			nowDescriptors, nowMappings := inventory(t)
			if !maps.Equal(descriptors, nowDescriptors) || !maps.Equal(mappings, nowMappings) {
				t.Errorf("descriptors %v and mappings %v, before %v and %v", nowDescriptors, nowMappings, descriptors, mappings)
			}
			if now := objectsOf(t, os.Getpid()); len(now) != len(objects) {
				t.Errorf("objects %v, before %v", slices.Collect(maps.Keys(now)), slices.Collect(maps.Keys(objects)))
			}
		})
	}
}

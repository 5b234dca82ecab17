package netns

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair makes a link that is gone when the test is over.
func pair(t *testing.T, queues int) *Link {
	t.Helper()
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	l, err := Pair(queues)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestPair(t *testing.T) {
	l := pair(t, 4)
	for side := range l.sides {
		s := l.Side(side)
		out, err := l.Command(t.Context(), side, "ip", "-d", "link", "show", s.Iface).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("numtxqueues 4")) || !bytes.Contains(out, []byte("numrxqueues 4")) {
			t.Errorf("side %d: %v: no 4 queues: %s", side, err, out)
		}
		out, err = l.Command(t.Context(), side, "ethtool", "-k", s.Iface).CombinedOutput()
		for _, off := range []string{"rx-checksumming", "tx-checksumming", "generic-receive-offload", "generic-segmentation-offload", "tcp-segmentation-offload"} {
			if err != nil || !bytes.Contains(out, []byte(off+": off")) {
				t.Errorf("side %d: %v: %s is not off: %s", side, err, off, out)
			}
		}
		if c, err := l.Counters(side); err != nil || c != (Counters{}) {
			t.Errorf("side %d: %v: traffic before any was sent: %+v", side, err, c)
		}
	}
	exchange(t, l, A, B)
	exchange(t, l, B, A)
	// What was sent is all that was counted: two datagrams of 42 or 62 bytes of
	// headers and 5 of payload each way, and nothing that the kernel said by itself.
	for side := range l.sides {
		want := Counters{RxPackets: 2, RxBytes: 47 + 67, TxPackets: 2, TxBytes: 47 + 67}
		if c, err := l.Counters(side); err != nil || c != want {
			t.Errorf("side %d: %v: counted %+v, want %+v", side, err, c, want)
		}
	}
}

// exchange sends one datagram over IPv4, one over IPv6.
func exchange(t *testing.T, l *Link, from, to int) {
	t.Helper()
	for _, addr := range []net.IP{l.Side(to).IPv4.Addr().AsSlice(), l.Side(to).IPv6.Addr().AsSlice()} {
		var in *net.UDPConn
		err := l.Do(to, func() (err error) {
			in, err = net.ListenUDP("udp", &net.UDPAddr{IP: addr, Port: 5060})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		err = l.Do(from, func() error {
			out, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: addr, Port: 5060})
			if err != nil {
				return err
			}
			defer out.Close()
			_, err = out.Write([]byte("hello"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := in.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 16)
		if n, err := in.Read(b); err != nil || string(b[:n]) != "hello" {
			t.Errorf("%v: got %q, %v", addr, b[:n], err)
		}
	}
}

// Do comes back from the namespace, however its function ends.
func TestDo(t *testing.T) {
	l := pair(t, 1)
	here := func() string {
		s, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			t.Error(err)
		}
		return s
	}
	home := here()
	if err := l.Do(A, func() error {
		if here() == home {
			t.Error("the function runs where it was called")
		}
		return unix.ENOENT
	}); err != unix.ENOENT {
		t.Errorf("got %v, want the function's error", err)
	}
	if here() != home {
		t.Error("the thread stayed in the namespace")
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was lost")
			}
		}()
		_ = l.Do(A, func() error { panic("on purpose") })
	}()
	if here() != home {
		t.Error("the thread stayed in the namespace after a panic")
	}
	// Threads of goroutines that ended inside are in no other goroutine's way.
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_ = l.Do(B, func() error { return unix.EIO })
			if here() != home {
				t.Error("a thread stayed in the namespace")
			}
		})
	}
	wg.Wait()
}

// Namespaces of processes that were killed are removed by the next Pair, those
// of processes that live are not.
func TestLeftovers(t *testing.T) {
	pair(t, 1) // skips where there are no namespaces
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	alive := exec.Command("sleep", "600")
	if err := alive.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = alive.Process.Kill()
		_ = alive.Wait()
	}()
	left := prefix + strconv.Itoa(gone.Process.Pid) + "-1a"
	kept := prefix + strconv.Itoa(alive.Process.Pid) + "-1a"
	for _, name := range []string{left, kept} {
		if err := run("ip", "netns", "add", name); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { _ = run("ip", "netns", "del", kept) }()
	l := pair(t, 1)
	if _, err := os.Stat(filepath.Join(folder, left)); err == nil {
		t.Errorf("%s is still there, its process is gone", left)
	}
	if _, err := os.Stat(filepath.Join(folder, kept)); err != nil {
		t.Errorf("%s was removed, its process lives", kept)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	for _, s := range l.sides {
		if _, err := os.Stat(filepath.Join(folder, s.Namespace)); err == nil {
			t.Errorf("%s is still there after Close", s.Namespace)
		}
	}
	if err := l.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	if err := l.Do(A, func() error { return nil }); err == nil || !strings.Contains(err.Error(), "open namespace") {
		t.Errorf("after Close: got %v, want an error about the namespace", err)
	}
}

func TestPairRefuses(t *testing.T) {
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	if l, err := Pair(0); err == nil {
		_ = l.Close()
		t.Error("made a veth without queues")
	}
}

// The mirror port gets what the others say to each other, and nothing else.
func TestMirror(t *testing.T) {
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	l, err := Mirror(2)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	exchange(t, l, A, B)
	exchange(t, l, B, A)
	for side, want := range []Counters{
		A: {RxPackets: 2, RxBytes: 47 + 67, TxPackets: 2, TxBytes: 47 + 67},
		B: {RxPackets: 2, RxBytes: 47 + 67, TxPackets: 2, TxBytes: 47 + 67},
		M: {RxPackets: 4, RxBytes: 2 * (47 + 67)},
	} {
		if c, err := l.Counters(side); err != nil || c != want {
			t.Errorf("side %d: %v: counted %+v, want %+v", side, err, c, want)
		}
	}
}

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringside/bench/netns"
)

// Where the host itself is an end of the calls, what it sends is half of them. And
// what its card merges is no gap in the ledger.
func TestLiveOnTheHostOfCalls(t *testing.T) {
	withoutRace(t)
	for _, gro := range []bool{false, true} {
		t.Run(fmt.Sprint("GRO ", gro), func(t *testing.T) {
			l := wire(t, 1)
			b := l.Side(netns.B)
			if gro {
				if out, err := l.Command(context.Background(), netns.B, "ethtool", "-K", b.Iface, "gro", "on").CombinedOutput(); err != nil {
					t.Skipf("merge frames: %v: %s", err, out)
				}
			}
			v := listen(t, l, "--utc", "--status-interval", "100ms")
			if said := strings.Contains(v.err.String(), "rx-gro make one packet of several"); said != gro {
				t.Errorf("says of merged packets: %v, want %v", said, gro)
			}
			dialogue(t, l)
			if gro {
				download(t, l)
			}
			got := v.end()
			if len(got.calls) != 1 || !strings.Contains(got.calls[0], " answered bye hung up by caller") || !strings.Contains(got.calls[0], " 6 messages, 0 again") {
				t.Errorf("calls %v", got.calls)
			}
			if text := v.err.String(); strings.Contains(text, "does not balance") || strings.Contains(text, "DOES NOT BALANCE") || !strings.Contains(text, "nic sent") {
				t.Errorf("it said\n%s", text)
			}
		})
	}
}

// dialogue makes a call from A to B.
func dialogue(t *testing.T, l *netns.Link) {
	t.Helper()
	caller, called := udpAt(t, l, netns.A), udpAt(t, l, netns.B)
	say := func(from, to net.PacketConn, line, cseq string) {
		text := line + "\r\nVia: SIP/2.0/UDP " + caller.LocalAddr().String() + ";branch=z9hG4bK" + cseq +
			"\r\nFrom: <sip:a@example.org>;tag=1\r\nTo: <sip:b@example.org>" + map[bool]string{true: "", false: ";tag=2"}[strings.HasPrefix(line, "INVITE")] +
			"\r\nCall-ID: own@example.org\r\nCSeq: " + cseq + "\r\nContent-Length: 0\r\n\r\n"
		if _, err := from.WriteTo([]byte(text), to.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		heard := make([]byte, 2048)
		_ = to.SetReadDeadline(time.Now().Add(time.Minute))
		if _, _, err := to.ReadFrom(heard); err != nil {
			t.Fatal(err)
		}
	}
	say(caller, called, "INVITE sip:b@example.org SIP/2.0", "1 INVITE")
	say(called, caller, "SIP/2.0 180 Ringing", "1 INVITE")
	say(called, caller, "SIP/2.0 200 OK", "1 INVITE")
	say(caller, called, "ACK sip:b@example.org SIP/2.0", "1 ACK")
	say(caller, called, "BYE sip:b@example.org SIP/2.0", "2 BYE")
	say(called, caller, "SIP/2.0 200 OK", "2 BYE")
}

func udpAt(t *testing.T, l *netns.Link, side int) (c net.PacketConn) {
	t.Helper()
	if err := l.Do(side, func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.Side(side).IPv4.Addr(), 5060)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// download sends B so much by TCP that its card merges it.
func download(t *testing.T, l *netns.Link) {
	t.Helper()
	var server net.Listener
	if err := l.Do(netns.B, func() (err error) {
		server, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.Side(netns.B).IPv4.Addr(), 8000)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	const size = 8 << 20
	read := make(chan error, 1)
	go func() {
		c, err := server.Accept()
		if err == nil {
			_, err = io.CopyN(io.Discard, c, size)
			err = errors.Join(err, c.Close())
		}
		read <- err
	}()
	var c *net.TCPConn
	if err := l.Do(netns.A, func() (err error) {
		c, err = net.DialTCP("tcp4", nil, server.Addr().(*net.TCPAddr))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
}

// A capture whose reader is gone ends in order: what it has goes to the store.
func TestLiveReaderGone(t *testing.T) {
	l := wire(t, 1)
	db := filepath.Join(t.TempDir(), "calls.db")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := l.Command(t.Context(), netns.B, os.Args[0], "run", "-i", l.Side(netns.B).Iface, "--json", "-", "--db", db)
	errs := new(printed)
	c.Stdout, c.Stderr, c.Env = w, errs, append(os.Environ(), asService+"=1")
	if err := errors.Join(c.Start(), w.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() { _ = c.Process.Kill() })
	for deadline := time.Now().Add(time.Minute); !strings.Contains(errs.String(), "\nworkers: "); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for a minute; it said\n%s", errs)
		}
	}
	dialogue(t, l)
	err = <-ended
	if !c.ProcessState.Exited() || c.ProcessState.ExitCode() != 1 || !strings.Contains(errs.String(), "broken pipe") {
		t.Errorf("%v; it said\n%s", err, errs)
	}
	if n, _ := ringside(t, 0, "calls", "--db", db, "--count"); strings.TrimSpace(n) != "1" {
		t.Errorf("%s calls in the store, want 1", n)
	}
}

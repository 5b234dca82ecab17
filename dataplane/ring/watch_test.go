package ring

import (
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
)

// state waits for the text of the state.
func state(t *testing.T, s *Set, text string) State {
	t.Helper()
	eventually(t, text+", it is "+s.State().Text, func() bool { return s.State().Text == text })
	return s.State()
}

// flows sends frames, again and again, until one of them arrives, and reads it.
func flows(t *testing.T, s *Set, dev string) {
	t.Helper()
	tx := newSender(t, dev)
	defer tx.close()
	for end := time.Now().Add(patience); ; {
		tx.send(datagram(1, 1, 100))
		b, err := s.Ring(0).Next()
		if err != nil {
			t.Fatal(err)
		}
		if b != nil {
			b.Release()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nothing comes: %+v, %+v", s.State(), s.Stats())
		}
	}
}

func TestDownAndUp(t *testing.T) {
	space(t)
	s := open(t, Options{})
	if st := state(t, s, capturing); !st.Capturing || st.Interruptions != 0 || st.Index == 0 || st.Iface != "vrx" {
		t.Errorf("%+v", st)
	}
	flows(t, s, "vtx")
	ip(t, "link", "set", "vrx", "down")
	if st := state(t, s, isDown); st.Capturing || st.Interruptions != 1 {
		t.Errorf("%+v", st)
	}
	for range 5 { // a quiet link, no error
		if b, err := s.Ring(0).Next(); b != nil || err != nil {
			t.Fatalf("while down: %v, %v", b, err)
		}
	}
	ip(t, "link", "set", "vrx", "up")
	state(t, s, capturing)
	flows(t, s, "vtx")
	ip(t, "link", "set", "vtx", "down") // the other end: no carrier
	if st := state(t, s, noLink); st.Interruptions != 2 {
		t.Errorf("%+v", st)
	}
	ip(t, "link", "set", "vtx", "up")
	state(t, s, capturing)
	flows(t, s, "vtx")
}

// One that comes back at once is an interruption all the same.
func TestShortInterruption(t *testing.T) {
	space(t)
	s := open(t, Options{})
	state(t, s, capturing)
	for want := uint64(1); want <= 3; want++ {
		ip(t, "link", "set", "vrx", "down")
		ip(t, "link", "set", "vrx", "up")
		eventually(t, "the interruption is counted", func() bool {
			st := s.State()
			return st.Interruptions >= want && st.Capturing
		})
		flows(t, s, "vtx")
	}
}

func TestDownAtTheStart(t *testing.T) {
	space(t)
	ip(t, "link", "set", "vrx", "down")
	s := open(t, Options{Rings: 2, Fanout: FanoutCPU})
	if st := state(t, s, isDown); st.Interruptions != 0 {
		t.Errorf("%+v", st)
	}
	ip(t, "link", "set", "vrx", "up")
	carriers(t, "vtx", "vrx")
	state(t, s, capturing)
	tx := newSender(t, "vtx")
	for i := range 10 {
		tx.send(datagram(uint64(i), i, 100))
	}
	eventually(t, "all arrive", func() bool { return s.Stats().Received == 10 })
}

func TestRename(t *testing.T) {
	space(t)
	s := open(t, Options{})
	flows(t, s, "vtx")
	before := state(t, s, capturing)
	ip(t, "link", "property", "add", "dev", "vrx", "altname", "mirror-port")
	ip(t, "link", "set", "vrx", "down")
	ip(t, "link", "set", "vrx", "name", "span0")
	ip(t, "link", "set", "span0", "up")
	eventually(t, "the new name is told", func() bool { return s.State().Iface == "span0" && s.State().Capturing })
	if st := s.State(); st.Index != before.Index {
		t.Errorf("%+v, before %+v", st, before)
	}
	flows(t, s, "vtx")
}

// Removed and made again under its name, several times, with frames waiting in
// the ring and batches out.
func TestRemovedAndBack(t *testing.T) {
	space(t)
	fds := len(descriptors(t))
	s := open(t, Options{Rings: 2, Fanout: FanoutFlow, Memory: 4 << 20})
	state(t, s, capturing)
	const each = 500
	var held []*frame.Batch
	for round := range 3 {
		tx := newSender(t, "vtx")
		for i := range each {
			tx.send(datagram(uint64(i), i, 200))
		}
		tx.close()
		ip(t, "link", "del", "vtx")
		if st := state(t, s, isGone); st.Index != 0 || st.Interruptions != uint64(round+1) {
			t.Errorf("%+v", st)
		}
		pair(t)
		state(t, s, capturing)
		for i := range 2 {
			for end := time.Now().Add(patience); len(s.Ring(i).fresh) > 0; { // what waited in the old ring, then the new one
				b, err := s.Ring(i).Next()
				if err != nil || time.Now().After(end) {
					t.Fatalf("%v: %+v", err, s.Stats())
				}
				if b != nil {
					held = append(held, b)
				}
			}
		}
		if st := s.Stats(); st.Packets != uint64(each*(round+1)) || st.Received != st.Packets {
			t.Errorf("round %d: %+v", round, st)
		}
	}
	n := 0
	for _, b := range held {
		for i := range b.Frames {
			if f := &b.Frames[i]; len(f.Data) != 200 || f.Data[13] != 0 || f.Data[12] != 8 {
				t.Fatalf("frame of a ring that is gone: % x", f.Data)
			}
			n++
		}
		b.Release()
	}
	if n != 3*each {
		t.Errorf("%d frames, want %d", n, 3*each)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(descriptors(t)); n > fds {
		t.Errorf("%d descriptors, %d before", n, fds)
	}
}

// Stop while the interface does not exist.
func TestStopWhileGone(t *testing.T) {
	space(t)
	s := open(t, Options{})
	tx := newSender(t, "vtx")
	for i := range 100 {
		tx.send(datagram(uint64(i), i, 200))
	}
	ip(t, "link", "del", "vtx")
	state(t, s, isGone)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if n := read(t, s.Ring(0), -1, func(*frame.Frame) {}); n != 100 {
		t.Errorf("%d frames, want 100", n)
	}
}

// On a bond, and on its port: both show the frames.
func TestBond(t *testing.T) {
	space(t)
	if out, err := exec.Command("ip", "link", "add", "bond0", "type", "bond", "mode", "active-backup", "miimon", "50").CombinedOutput(); err != nil {
		t.Skipf("no bonds in this kernel (CONFIG_BONDING): %s", out)
	}
	ip(t, "link", "set", "vrx", "down")
	ip(t, "link", "set", "vrx", "master", "bond0")
	ip(t, "link", "set", "bond0", "up")
	for _, dev := range []string{"bond0", "vrx"} {
		s := open(t, Options{Iface: dev, Promiscuous: true})
		state(t, s, capturing)
		flows(t, s, "vtx")
	}
}

// A port of a bridge is captured from like any other, and that it leaves the
// bridge does not mean that it is gone, though netlink says RTM_DELLINK.
func TestBridgePort(t *testing.T) {
	space(t)
	if out, err := exec.Command("ip", "link", "add", "br0", "type", "bridge").CombinedOutput(); err != nil {
		t.Skipf("no bridges in this kernel (CONFIG_BRIDGE): %s", out)
	}
	s := open(t, Options{Promiscuous: true})
	for range 2 {
		ip(t, "link", "set", "vrx", "master", "br0")
		flows(t, s, "vtx")
		ip(t, "link", "set", "vrx", "nomaster")
		flows(t, s, "vtx")
	}
	ip(t, "link", "set", "vrx", "name", "vrx0") // told after everything else
	eventually(t, "the new name is told", func() bool { return s.State().Iface == "vrx0" })
	if st := s.State(); !st.Capturing || st.Interruptions != 0 {
		t.Errorf("%+v", st)
	}
}

// Names that change all the time do not make an interface seem gone.
func TestRenamedWhileLookedAt(t *testing.T) {
	space(t)
	s := open(t, Options{})
	l, err := s.watch.byName("vrx")
	if err != nil {
		t.Fatal(err)
	}
	renamer, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ip(t, "link", "set", "vrx", "down") // before Linux 6.2 nothing else can be renamed
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		names := []string{"vrx", "span0"}
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- unix.Close(renamer)
				return
			default:
			}
			if err := rename(renamer, names[i%2], names[(i+1)%2]); err != nil {
				t.Errorf("rename: %v", err)
				<-stop
				done <- unix.Close(renamer)
				return
			}
		}
	}()
	for range 2000 {
		if got, err := s.watch.byIndex(l.index); err != nil || got.index != l.index {
			t.Errorf("%+v, %v", got, err)
			break
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if l, err = s.watch.byIndex(l.index); err != nil {
		t.Fatal(err)
	}
	ip(t, "link", "set", l.name, "up")
	eventually(t, "it is seen", func() bool { return s.State().Capturing && s.State().Iface == l.name })
}

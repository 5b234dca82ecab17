package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringside/bench/netns"
	"ringside/bench/replay"
	"ringside/flow/record"
)

// sippKind is a kind of call that two sipps make with each other, step by step:
//
//	> INVITE 1 sdp    send a request with a CSeq, or a response
//	< 180 optional    expect a response or a request
//	play              send a second of RTP
//	pause 300         wait, in ms
type sippKind struct {
	name    string
	outcome record.Outcome
	calls   int
	caller  string
	called  string
}

var sippKinds = []sippKind{
	{"answered", record.Answered, 5,
		"> INVITE 1 sdp, < 180 optional, < 200, > ACK 1, play, pause 1500, > BYE 2, < 200",
		"< INVITE, > 180 Ringing, > 200 OK sdp, < ACK, play, < BYE, > 200 OK"},
	{"challenged", record.Answered, 3,
		"> INVITE 1 sdp, < 401 auth, > ACK 1 same, > INVITE 2 sdp authorized, < 180 optional, < 200, > ACK 2, play, pause 1500, > BYE 3, < 200",
		"< INVITE, > 401 Unauthorized, < ACK, < INVITE, > 180 Ringing, > 200 OK sdp, < ACK, play, < BYE, > 200 OK"},
	{"busy", record.Busy, 3, "> INVITE 1 sdp, < 486, > ACK 1 same", "< INVITE, > 486 Busy Here, < ACK"},
	{"cancelled", record.Cancelled, 3,
		"> INVITE 1 sdp, < 180, pause 300, > CANCEL 1 same, < 200, < 487, > ACK 1 same",
		"< INVITE, > 180 Ringing, < CANCEL, > 200 OK, > 487 Request Terminated, < ACK"},
	{"no answer", record.NoAnswer, 2,
		"> INVITE 1 sdp, < 180, < 480, > ACK 1 same",
		"< INVITE, > 180 Ringing, pause 500, > 480 Temporarily Unavailable, < ACK"},
	{"refused", record.AuthFailed, 2, "> INVITE 1 sdp, < 401, > ACK 1 same", "< INVITE, > 401 Unauthorized, < ACK"},
	{"failed", record.Failed, 4, "> INVITE 1 sdp, < 503, > ACK 1 same", "< INVITE, > 503 Service Unavailable, < ACK"},
}

// sippVoice is how many RTP packets a side sends in a call, of 20 ms each.
const sippVoice = 50

// sippScenario writes the steps of one side as sipp reads them.
func sippScenario(t *testing.T, steps string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<scenario name=\"ringside\">\n")
	invite, number := 0, ""
	for i, s := range strings.Split(steps, ", ") {
		verb, rest, _ := strings.Cut(s, " ")
		words := strings.Fields(rest)
		switch verb {
		case ">":
			response := words[0][0] <= '9'
			resend := ""
			switch {
			case words[0] == "ACK", words[0][0] == '1': // never sent again
			case words[0] == "200" && !slices.Contains(words, "sdp"): // to BYE or CANCEL: when they come again
			default:
				resend = ` retrans="500"`
			}
			if words[0] == "INVITE" {
				invite = i
			}
			lines := sippRequest(words, i-invite)
			if response {
				lines = sippResponse(words, number)
			}
			fmt.Fprintf(&b, "<send%s><![CDATA[\n%s\n]]></send>\n", resend, strings.Join(lines, "\n"))
		case "<":
			kind, extra := "request", ""
			if words[0][0] <= '9' {
				kind = "response"
			}
			if slices.Contains(words, "optional") {
				extra = ` optional="true"`
			}
			if slices.Contains(words, "auth") {
				extra += ` auth="true"`
			}
			fmt.Fprintf(&b, "<recv %s=%q%s/>\n", kind, words[0], extra)
			number = "[last_CSeq:]"
			if words[0] == "CANCEL" {
				number = "CSeq: 1 INVITE" // of the final response to what was cancelled
			}
		case "play":
			b.WriteString("<nop><action><exec play_pcap_audio=\"voice.pcap\"/></action></nop>\n")
		case "pause":
			fmt.Fprintf(&b, "<pause milliseconds=%q/>\n", rest)
		default:
			t.Fatalf("no step %q", s)
		}
	}
	b.WriteString("</scenario>\n")
	return b.String()
}

// sippRequest is a request; since is how many steps ago the INVITE was.
func sippRequest(words []string, since int) []string {
	branch := "[branch]"
	if slices.Contains(words, "same") {
		branch = fmt.Sprintf("[branch-%d]", since)
	}
	to := "To: <sip:[service]@[remote_ip]>"
	if words[0] == "ACK" || words[0] == "BYE" {
		to = "[last_To:]"
	}
	lines := []string{
		words[0] + " sip:[service]@[remote_ip]:[remote_port] SIP/2.0",
		"Via: SIP/2.0/UDP [local_ip]:[local_port];branch=" + branch,
		"From: <sip:caller@[local_ip]>;tag=[pid]a[call_number]",
		to,
		"Call-ID: [call_id]",
		"CSeq: " + words[1] + " " + words[0],
		"Contact: <sip:caller@[local_ip]:[local_port]>",
		"Max-Forwards: 70",
	}
	if slices.Contains(words, "authorized") {
		lines = append(lines, "[authentication username=caller password=secret]")
	}
	return append(lines, sippBody(words)...)
}

// sippResponse is a response to the last request, or with a CSeq of its own.
func sippResponse(words []string, number string) []string {
	if words[0] == "200" {
		number = "[last_CSeq:]"
	}
	to := "[last_To:];tag=[pid]b[call_number]"
	if words[0] == "200" && !slices.Contains(words, "sdp") && number == "[last_CSeq:]" {
		to = "[last_To:]" // to BYE, which has the tag, or to CANCEL
	}
	lines := []string{
		"SIP/2.0 " + strings.TrimSuffix(strings.Join(words, " "), " sdp"),
		"[last_Via:]", "[last_From:]", to, "[last_Call-ID:]", number,
		"Contact: <sip:[local_ip]:[local_port]>",
	}
	if words[0] == "401" {
		lines = append(lines, `WWW-Authenticate: Digest realm="ringside", nonce="dcd98b7102dd2f0e", algorithm=MD5`)
	}
	return append(lines, sippBody(words)...)
}

func sippBody(words []string) []string {
	if !slices.Contains(words, "sdp") {
		return []string{"Content-Length: 0", ""}
	}
	return []string{
		"Content-Type: application/sdp", "Content-Length: [len]", "",
		"v=0", "o=- 1 1 IN IP[local_ip_type] [local_ip]", "s=-", "c=IN IP[media_ip_type] [media_ip]", "t=0 0",
		"m=audio [auto_media_port] RTP/AVP 8", "a=rtpmap:8 PCMA/8000",
	}
}

// writeVoice writes what play sends: PCMA, 20 ms a packet.
func writeVoice(t *testing.T, path string) {
	t.Helper()
	le, be := binary.LittleEndian, binary.BigEndian
	file := le.AppendUint32(nil, 0xa1b2c3d4)
	file = append(file, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 1, 0, 0, 0)
	for i := range uint32(sippVoice) {
		f := make([]byte, 14+20+8+12, 14+20+8+12+160)
		f[12], f[14], f[14+8], f[14+9] = 0x08, 0x45, 64, 17
		be.PutUint16(f[14+2:], 20+8+12+160)
		copy(f[14+12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
		be.PutUint16(f[34:], 6000)
		be.PutUint16(f[36:], 6000)
		be.PutUint16(f[38:], 8+12+160)
		f[42], f[43] = 0x80, 8
		be.PutUint16(f[44:], uint16(100+i))
		be.PutUint32(f[46:], 160*i)
		be.PutUint32(f[50:], 0x51990001)
		f = append(f, bytes.Repeat([]byte{0xd5}, 160)...)
		for _, v := range []uint32{1 + i/50, i % 50 * 20_000, uint32(len(f)), uint32(len(f))} {
			file = le.AppendUint32(file, v)
		}
		file = append(file, f...)
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
}

// runSipp makes all kinds of calls from A to B, one kind after the other. It
// returns how many of each outcome there were, as both sipps say.
func runSipp(t *testing.T, l *netns.Link) map[record.Outcome]int {
	t.Helper()
	need(t, "sipp")
	dir := t.TempDir()
	writeVoice(t, filepath.Join(dir, "voice.pcap"))
	made := make(map[record.Outcome]int)
	for i, c := range sippKinds {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		called := startSipp(ctx, t, l, dir, netns.B, c.name+" called", c.called, c.calls, 40000+400*i)
		heard := func() bool { return listens(t, l, netns.B, 5060) }
		for !heard() && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		caller := startSipp(ctx, t, l, dir, netns.A, c.name+" caller", c.caller, c.calls, 20000+400*i)
		for _, s := range []*sipp{caller, called} {
			if ok, failed := s.end(t); ok != c.calls || failed != 0 {
				t.Fatalf("%s: %d calls went as planned and %d not, of %d", s.name, ok, failed, c.calls)
			}
		}
		cancel()
		made[c.outcome] += c.calls
	}
	return made
}

// listens reports whether a UDP port is open in the namespace of a side.
func listens(t *testing.T, l *netns.Link, side int, port uint16) (open bool) {
	t.Helper()
	err := l.Do(side, func() error {
		table, err := os.ReadFile("/proc/thread-self/net/udp")
		open = bytes.Contains(table, fmt.Appendf(nil, ":%04X ", port))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return open
}

// sipp is a running sipp.
type sipp struct {
	name, stats string
	cmd         *exec.Cmd
	out         *printed
}

func startSipp(ctx context.Context, t *testing.T, l *netns.Link, dir string, side int, name, steps string, calls, media int) *sipp {
	t.Helper()
	file := strings.ReplaceAll(name, " ", "-")
	s := &sipp{name: name, stats: filepath.Join(dir, file+".csv"), out: new(printed)}
	scenario := filepath.Join(dir, file+".xml")
	if err := os.WriteFile(scenario, []byte(sippScenario(t, steps)), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := l.Side(side).IPv4.Addr().String()
	args := []string{"-sf", scenario, "-i", addr, "-mi", addr, "-mp", strconv.Itoa(media), "-p", "5060", "-m", strconv.Itoa(calls),
		"-nostdin", "-trace_stat", "-stf", s.stats, "-fd", "1", "-trace_err", "-error_file", filepath.Join(dir, file+".errors")}
	if side == netns.A {
		args = append([]string{l.Side(netns.B).IPv4.Addr().String() + ":5060", "-s", "called", "-r", "5"}, args...)
	}
	s.cmd = l.Command(ctx, side, "sipp", args...)
	s.cmd.Dir = dir
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// end waits for a sipp and reads its statistics: calls that went as planned, and others.
func (s *sipp) end(t *testing.T) (ok, failed int) {
	t.Helper()
	err := s.cmd.Wait()
	table, bad := os.ReadFile(s.stats)
	if bad != nil {
		t.Fatalf("%s: %v, %v; it said\n%s", s.name, err, bad, s.out)
	}
	lines := strings.Split(strings.TrimSpace(string(table)), "\n")
	names, values := strings.Split(lines[0], ";"), strings.Split(lines[len(lines)-1], ";")
	get := func(name string) int {
		i := slices.Index(names, name)
		if i < 0 || i >= len(values) {
			t.Fatalf("%s: no %s in its statistics", s.name, name)
		}
		n, err := strconv.Atoi(values[i])
		if err != nil {
			t.Fatalf("%s: %s: %v", s.name, name, err)
		}
		return n
	}
	ok, failed = get("SuccessfulCall(C)"), get("FailedCall(C)")
	if err != nil && failed == 0 {
		t.Fatalf("%s: %v; it said\n%s", s.name, err, s.out)
	}
	return ok, failed
}

// dumpAt starts tcpdump on one end of a link, before any traffic; the function
// that it returns ends it when it has written all.
func dumpAt(t *testing.T, l *netns.Link, side int, path string) (end func()) {
	t.Helper()
	need(t, "tcpdump")
	said := new(printed)
	cmd := l.Command(context.Background(), side, "tcpdump", "-i", l.Side(side).Iface, "-Z", "root", "-U", "--immediate-mode", "-B", "65536", "-w", path)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	for deadline := time.Now().Add(time.Minute); !strings.Contains(said.String(), "listening on"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("tcpdump does not listen: %s", said)
		}
	}
	return func() {
		t.Helper()
		// What it has not read when it is told to end, it does not read any more.
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			frames, err := replay.ReadFile(path) // an error if it is being written
			c, bad := l.Counters(side)
			if err == nil && bad == nil && uint64(len(frames)) == c.RxPackets+c.TxPackets {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("tcpdump has written %d frames of %+v (%v, %v)", len(frames), c, err, bad)
			}
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Fatalf("tcpdump: %v: %s", err, said)
		}
		if !strings.Contains(said.String(), "\n0 packets dropped by kernel") {
			t.Fatalf("tcpdump has lost packets: %s", said)
		}
	}
}

// mirrored is a link with a mirror port, for calls that ringside must not disturb.
func mirrored(t *testing.T) *netns.Link {
	t.Helper()
	if err := netns.Supported(); err != nil {
		t.Skip(err)
	}
	need(t, "sipp", "tcpdump")
	l, err := netns.Mirror(2)
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

// checkSipp compares the calls among some records with what sipp has made.
func checkSipp(t *testing.T, text string, made map[record.Outcome]int) {
	t.Helper()
	seen := make(map[record.Outcome]int)
	for line := range strings.Lines(text) {
		var kind struct {
			Type   string
			Orphan bool
		}
		var c record.Call
		if err := json.Unmarshal([]byte(line), &kind); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if kind.Orphan {
			t.Errorf("a stream of no call: %s", line)
		}
		if kind.Type != "" || kind.Orphan {
			continue
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		seen[c.Outcome]++
		if err := checkMedia(&c); err != nil {
			t.Errorf("%s, %v: %v", c.CallID, c.Outcome, err)
		}
	}
	for _, o := range record.Outcomes() {
		if seen[o] != made[o] {
			t.Errorf("%d calls are %v, sipp made %d", seen[o], o, made[o])
		}
	}
}

// checkMedia looks at the streams of a call: one each way, whole and of good
// quality, if it was answered.
func checkMedia(c *record.Call) error {
	want := 0
	if c.Outcome == record.Answered {
		want = 2
	}
	if len(c.Streams) != want {
		return fmt.Errorf("%d streams, want %d", len(c.Streams), want)
	}
	var errs []error
	for i := range c.Streams {
		s := &c.Streams[i]
		if s.Packets != sippVoice || s.Lost != 0 || s.Duplicate != 0 || !strings.EqualFold(s.Codec, "PCMA") || s.Bytes != sippVoice*160 {
			errs = append(errs, errors.New(facts(s)))
		}
		// A sender that was held up is late for the playout buffer: that is not the capture's doing.
		if s.LateF2 == 0 && s.MOS.LQ < 4.3 || s.MOS.LQ == 0 || s.MOS.Method == "" {
			errs = append(errs, fmt.Errorf("MOS %+v with %d late", s.MOS, s.LateF2))
		}
	}
	if want == 2 && c.Streams[0].From == c.Streams[1].From {
		errs = append(errs, errors.New("both streams are from one side"))
	}
	return errors.Join(errs...)
}

// TestSippFile: calls of sipp that tcpdump captures at a mirror port are read with the
// outcomes and the quality that they had.
func TestSippFile(t *testing.T) {
	withoutRace(t)
	t.Parallel()
	l := mirrored(t)
	path := filepath.Join(t.TempDir(), "sipp.pcap")
	end := dumpAt(t, l, netns.M, path)
	made := runSipp(t, l)
	end()
	out, _ := ringside(t, 0, "read", "--json", "-", "-q", path)
	checkSipp(t, out, made)
}

// TestSippLive: calls of sipp are captured live at a mirror port, with the records that
// a capture file of one of the parties gives.
func TestSippLive(t *testing.T) {
	withoutRace(t)
	for _, tc := range []struct {
		name string
		args []string
	}{
		{"no XDP", []string{"--xdp", "none"}},
		{"measured in the kernel", []string{"--dedicated", "--meter", "kernel"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := mirrored(t)
			path := filepath.Join(t.TempDir(), "sipp.pcap")
			end := dumpAt(t, l, netns.A, path)
			v := listenAt(t, l, netns.M, tc.args...)
			made := runSipp(t, l)
			end()
			got := v.end()
			checkSipp(t, v.out.String(), made)
			got.same(t, readBack(t, path))
		})
	}
}

// listenAt starts a capture at one end of a link, and returns when it captures.
func listenAt(t *testing.T, l *netns.Link, side int, args ...string) *live {
	t.Helper()
	v := &live{t: t, out: new(printed), err: new(printed), ended: make(chan error, 1)}
	v.cmd = l.Command(context.Background(), side, os.Args[0], append([]string{"run", "-i", l.Side(side).Iface, "--json", "-", "--dedup", "off"}, args...)...)
	v.cmd.Stdout, v.cmd.Stderr = v.out, v.err
	v.cmd.Env = append(os.Environ(), asService+"=1")
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		v.ended <- v.cmd.Wait()
		close(gone)
	}()
	t.Cleanup(func() {
		_ = v.cmd.Process.Kill()
		<-gone
	})
	v.until("it captures", func() bool { return strings.Contains(v.err.String(), "\nworkers: ") })
	return v
}

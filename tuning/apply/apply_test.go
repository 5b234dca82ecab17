package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringside/tuning/driver"
	"ringside/tuning/inventory"
	"ringside/tuning/inventory/inventorytest"
	"ringside/tuning/plan"
	"ringside/tuning/setting"
)

// machine is a fixture host with a driver that behaves as drivers do: another number
// of queues sets up queues, interrupts and the table anew.
type machine struct {
	t        *testing.T
	root     string
	asked    inventorytest.Asked
	iface    string
	refuse   map[string]error  // by setting
	round    map[string]string // values that the driver makes something else of
	restarts []string
}

func newMachine(t *testing.T, tree, iface string) *machine {
	t.Helper()
	root, asked := inventorytest.Tree(t, filepath.Join("../plan/testdata", tree+".txt"))
	m := &machine{t: t, root: root, asked: asked.(inventorytest.Asked), iface: iface}
	m.put("proc/sys/kernel/random/boot_id", "6f1f-first")
	return m
}

func (m *machine) put(file, text string) {
	m.t.Helper()
	at := filepath.Join(m.root, file)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(text+"\n"), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) Get(_, key string) (string, error) {
	v, ok := m.asked.NICs[m.iface].Settings[key]
	if !ok {
		return "", driver.ErrUnsupported
	}
	return v, nil
}

func (m *machine) Set(_, key, value string) error {
	if err := m.refuse[key]; err != nil {
		return err
	}
	if to, ok := m.round[key+" "+value]; ok {
		value = to
	}
	s := m.asked.NICs[m.iface].Settings
	if s[key] == value {
		return nil
	}
	s[key] = value
	if key == "channels.combined" {
		m.setUp(value)
	}
	return nil
}

// setUp is what a driver does when the number of queues changes.
func (m *machine) setUp(value string) {
	var n int
	fmt.Sscan(value, &n)
	m.asked.NICs[m.iface].Settings["rss.table"] = "equal " + value
	queues := filepath.Join(m.root, "sys/class/net", m.iface, "queues")
	old, _ := os.ReadDir(queues)
	for _, q := range old {
		var at int
		if fmt.Sscanf(q.Name()[3:], "%d", &at); at >= n {
			os.RemoveAll(filepath.Join(queues, q.Name()))
		}
	}
	for q := range n {
		for _, f := range []string{fmt.Sprintf("rx-%d/rps_cpus", q), fmt.Sprintf("tx-%d/xps_cpus", q)} {
			if _, err := os.Stat(filepath.Join(queues, f)); err != nil {
				m.put("sys/class/net/"+m.iface+"/queues/"+f, "0")
			}
		}
	}
	// Interrupts are asked for anew, with the hints of the driver.
	for i := 60; i < 60+n; i++ {
		m.put(fmt.Sprintf("proc/irq/%d/smp_affinity_list", i), "0-7")
	}
}

func (m *machine) tuner(dir string) *Tuner {
	s := &setting.Machine{Root: m.root, Driver: m, Restart: func(unit string) error { m.restarts = append(m.restarts, unit); return nil }}
	return &Tuner{Machine: s, Dir: dir, Look: func() (*inventory.Facts, error) {
		return inventory.Read(inventory.Options{Root: m.root, Caller: m.asked, Interfaces: []string{m.iface}}), nil
	}}
}

// state is every file, and everything that the driver says.
func (m *machine) state() string {
	var b strings.Builder
	err := filepath.WalkDir(m.root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Type() != 0 {
			return err
		}
		text, err := os.ReadFile(p)
		fmt.Fprintf(&b, "%s: %q\n", strings.TrimPrefix(p, m.root), text)
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	s := m.asked.NICs[m.iface].Settings
	for _, k := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s = %s\n", k, s[k])
	}
	return b.String()
}

// apply makes the changes of the plan, with a journal in a directory.
func (m *machine) apply(dir string) {
	m.t.Helper()
	if _, _, err := m.tuner(dir).Apply(m.t.Context(), options); err != nil {
		m.t.Fatal(err)
	}
}

// undo takes them back.
func (m *machine) undo(dir string, force bool) []Outcome {
	m.t.Helper()
	return must[[]Outcome](m.t)(m.tuner(dir).Undo(m.t.Context(), "eth1", force))
}

// same says that all is as before.
func (m *machine) same(before string) {
	m.t.Helper()
	after := m.state()
	if after == before {
		return
	}
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, l := range a {
		if !slices.Contains(b, l) {
			m.t.Errorf("was  %s", l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			m.t.Errorf("is   %s", l)
		}
	}
}

var options = plan.Options{Interface: "eth1", Workload: plan.Meter}

func count(out []Outcome, f Fate) (n int) {
	for _, o := range out {
		if o.Fate == f {
			n++
		}
	}
	return n
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// What is applied is as planned, and what is taken back is as it was, byte for byte:
// interrupts, queues, offloads, irqbalance.
func TestApplyAndUndo(t *testing.T) {
	m := newMachine(t, "ixgbe-82599", "eth1")
	// Somebody has tuned one queue; fewer queues than now would not make it go away.
	m.put("sys/class/net/eth1/queues/tx-7/xps_cpus", "80")
	before := m.state()
	dir := filepath.Join(t.TempDir(), "state")
	tuner := m.tuner(dir)
	p, out, err := tuner.Apply(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if bad := len(out) - count(out, Done); bad != 0 || len(out) < 30 {
		t.Errorf("%d of %d changes were not made: %+v", bad, len(out), out)
	}
	if left := must[*plan.Plan](t)(plan.Make(must[*inventory.Facts](t)(tuner.Look()), options)).Changes(); len(left) > 0 {
		t.Errorf("there is more to change: %v", left)
	}
	s := m.asked.NICs["eth1"].Settings
	if s["channels.combined"] != "7" || s["rings.rx"] != "4096" || s["feature.rx-gro"] != "off" || !strings.HasPrefix(s["rss.key"], "6d:5a:6d:5a:") {
		t.Errorf("%v", s)
	}
	if b, _ := os.ReadFile(filepath.Join(m.root, "proc/irq/61/smp_affinity_list")); strings.TrimSpace(string(b)) != "2" {
		t.Errorf("the interrupt of the second queue goes to %s", b)
	}
	conf, _ := os.ReadFile(filepath.Join(m.root, "run/systemd/system/irqbalance.service.d/ringside-tune.conf"))
	if !strings.Contains(string(conf), "--banirq=60 --banirq=61 ") || !strings.Contains(string(conf), "BANNED_CPULIST=1-7") || len(m.restarts) != 1 {
		t.Errorf("irqbalance: %s, restarted %v", conf, m.restarts)
	}
	if p.Queues != 7 {
		t.Errorf("%+v", p)
	}

	out = m.undo(dir, false)
	if n := count(out, Conflict) + count(out, Failed); n != 0 {
		t.Errorf("%+v", out)
	}
	m.same(before)
	if _, err := m.tuner(dir).Undo(t.Context(), "eth1", false); !errors.Is(err, ErrNothing) {
		t.Errorf("a second time: %v", err)
	}
	m.same(before)
	if left := must[[]string](t)(Journals(dir)); len(left) != 0 {
		t.Errorf("a journal is left: %v", left)
	}
}

// A crash at any moment, before a change or right after it, can be taken back.
func TestCrash(t *testing.T) {
	m := newMachine(t, "ixgbe-82599", "eth1")
	before := m.state()
	var moments []string
	tuner := m.tuner(t.TempDir())
	tuner.crash = func(at string) bool { moments = append(moments, at); return false }
	if _, _, err := tuner.Apply(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	tuner.crash = nil
	must[[]Outcome](t)(tuner.Undo(t.Context(), "eth1", false))
	m.same(before)
	for i, moment := range moments {
		// The first of each kind, and a few others: each takes as long as all.
		if i > 3 && i%17 != 0 && !strings.Contains(moment, "irqbalance") {
			continue
		}
		t.Run(strings.ReplaceAll(moment, "/", "_"), func(t *testing.T) {
			m.t = t
			dir := t.TempDir()
			crashing := m.tuner(dir)
			crashing.crash = func(at string) bool { return at == moment }
			if _, _, err := crashing.Apply(t.Context(), options); !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			if out := m.undo(dir, false); count(out, Conflict)+count(out, Failed) != 0 {
				t.Errorf("%+v", out)
			}
			m.same(before)
		})
	}
}

// Taking back that is stopped can be taken up again.
func TestCrashOfUndo(t *testing.T) {
	m := newMachine(t, "ixgbe-82599", "eth1")
	before := m.state()
	for _, at := range []string{"undo nic/eth1/channels.combined", "undo nic/eth1/rings.rx", "undo /sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "undo irqbalance/banned"} {
		t.Run(strings.ReplaceAll(at, "/", "_"), func(t *testing.T) {
			m.t = t
			dir := t.TempDir()
			m.apply(dir)
			crashing := m.tuner(dir)
			crashing.crash = func(now string) bool { return now == at }
			if _, err := crashing.Undo(t.Context(), "eth1", false); !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			if out := m.undo(dir, false); count(out, Conflict)+count(out, Failed) != 0 {
				t.Errorf("%+v", out)
			}
			m.same(before)
		})
	}
}

// After a crash it can also go on, and be taken back later.
func TestGoesOnAfterCrash(t *testing.T) {
	m := newMachine(t, "ixgbe-82599", "eth1")
	before := m.state()
	dir := t.TempDir()
	tuner := m.tuner(dir)
	tuner.crash = func(at string) bool { return at == "change nic/eth1/channels.combined" }
	if _, _, err := tuner.Apply(t.Context(), options); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	// The last line of the journal is torn.
	at := path(dir, "eth1")
	text := must[[]byte](t)(os.ReadFile(at))
	if err := os.WriteFile(at, append(text, `{"end":{"now":{"nic/et`...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, out, err := m.tuner(dir).Apply(t.Context(), options); err != nil || count(out, Failed) > 0 {
		t.Fatal(err, out)
	}
	m.undo(dir, false)
	m.same(before)
}

// What somebody changes in between is told and stays, unless it is forced.
func TestConflict(t *testing.T) {
	m := newMachine(t, "ixgbe-82599", "eth1")
	before := m.state()
	dir := t.TempDir()
	m.apply(dir)
	m.asked.NICs["eth1"].Settings["coalesce.rx-usecs"] = "30"
	m.put("proc/irq/62/smp_affinity_list", "5")
	out := m.undo(dir, false)
	// The interrupts are asked for anew when the number of queues goes back, and are
	// as they were then, whatever somebody has made of them. That is told.
	told := slices.ContainsFunc(out, func(o Outcome) bool {
		return o.Key == "/proc/irq/62/smp_affinity_list" && strings.Contains(o.Text, "made it 5")
	})
	if count(out, Conflict) != 1 || !told {
		t.Errorf("%+v", out)
	}
	if s := m.asked.NICs["eth1"].Settings; s["coalesce.rx-usecs"] != "30" || s["rings.rx"] != "512" {
		t.Errorf("%v", s)
	}
	out = m.undo(dir, true)
	if count(out, Conflict) != 0 {
		t.Errorf("%+v", out)
	}
	m.same(before)
}

// What is changed between looking and changing is told, and not overwritten.
func TestChangedMeanwhile(t *testing.T) {
	m := newMachine(t, "ixgbe-82599", "eth1")
	dir := t.TempDir()
	tuner := m.tuner(dir)
	tuner.Tell = func(o Outcome) {
		if o.Step == "offloads" { // the next one but one
			m.asked.NICs["eth1"].Settings["coalesce.rx-usecs"] = "77"
		}
	}
	_, out, err := tuner.Apply(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if count(out, Conflict) != 1 || m.asked.NICs["eth1"].Settings["coalesce.rx-usecs"] != "77" {
		t.Errorf("%+v", out)
	}
	m.undo(dir, false)
	if got := m.asked.NICs["eth1"].Settings["coalesce.rx-usecs"]; got != "77" {
		t.Errorf("it is %s: it was not ours to take back", got)
	}
}

// What a driver refuses or rounds is told; the rest goes on, and is taken back.
func TestDriverRefuses(t *testing.T) {
	m := newMachine(t, "ixgbe-82599", "eth1")
	before := m.state()
	m.refuse = map[string]error{"rss.key": errors.New("invalid argument")}
	m.round = map[string]string{"coalesce.rx-usecs 50": "48", "pause.rx off": "on"}
	dir := t.TempDir()
	_, out, err := m.tuner(dir).Apply(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if count(out, Failed) != 2 || count(out, Adjusted) != 1 || count(out, Done) < 25 {
		t.Errorf("%+v", out)
	}
	m.undo(dir, false)
	m.same(before)
}

// A setting that cannot be taken back keeps the journal for another try.
func TestUndoFails(t *testing.T) {
	m := newMachine(t, "ixgbe-82599", "eth1")
	before := m.state()
	dir := t.TempDir()
	m.apply(dir)
	m.refuse = map[string]error{"rings.rx": errors.New("no memory")}
	if out := m.undo(dir, false); count(out, Failed) != 1 {
		t.Errorf("%+v", out)
	}
	m.refuse = nil
	if out := m.undo(dir, false); count(out, Failed) != 0 {
		t.Errorf("%+v", out)
	}
	m.same(before)
}

// A start of the machine takes everything back; a journal of before says nothing.
func TestRestarted(t *testing.T) {
	m := newMachine(t, "ixgbe-82599", "eth1")
	dir := t.TempDir()
	m.apply(dir)
	m.put("proc/sys/kernel/random/boot_id", "another")
	after := m.state()
	if _, err := m.tuner(dir).Undo(t.Context(), "eth1", false); !errors.Is(err, ErrNothing) {
		t.Error(err)
	}
	m.same(after)
}

// Applied twice, it is taken back to how it was before the first time.
func TestTwice(t *testing.T) {
	m := newMachine(t, "ixgbe-82599", "eth1")
	before := m.state()
	dir := t.TempDir()
	m.apply(dir)
	if _, out, err := m.tuner(dir).Apply(t.Context(), options); err != nil || len(out) != 0 {
		t.Errorf("%v, %+v", err, out)
	}
	other := options
	other.Workload, other.Queues = plan.SIP, 2
	if _, out, err := m.tuner(dir).Apply(t.Context(), other); err != nil || len(out) == 0 {
		t.Errorf("%v, %+v", err, out)
	}
	m.undo(dir, false)
	m.same(before)
}

// A journal that somebody has forged asks for nothing but settings, and one that
// others can write to is not read.
func TestForged(t *testing.T) {
	m := newMachine(t, "ixgbe-82599", "eth1")
	m.put("etc/shadow", "root")
	dir := t.TempDir()
	text := `{"head":{"version":1,"interface":"eth1","boot":"6f1f-first","found":{"/etc/shadow":"x","/proc/sys/../../etc/shadow":"y"}}}
{"begin":{"step":"a","key":"/etc/shadow","found":"x","want":"root"}}
{"end":{"now":{"/etc/shadow":"root","/proc/sys/../../etc/shadow":"root"}}}
`
	if err := os.WriteFile(path(dir, "eth1"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := m.undo(dir, true); count(out, Failed) != 2 {
		t.Errorf("%+v", out)
	}
	if b, _ := os.ReadFile(filepath.Join(m.root, "etc/shadow")); string(b) != "root\n" {
		t.Errorf("it was written: %s", b)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := m.tuner(dir).Undo(t.Context(), "eth1", true); err == nil || !strings.Contains(err.Error(), "others can write") {
		t.Error(err)
	}
}

// A link that is down is not waited for; one that goes away for a moment is.
func TestSettle(t *testing.T) {
	const carrier = "sys/class/net/eth1/carrier"
	for _, up := range []bool{true, false} {
		t.Run(fmt.Sprintf("up %v", up), func(t *testing.T) {
			m := newMachine(t, "ixgbe-82599", "eth1")
			if !up {
				m.put(carrier, "0")
			}
			// Nobody waits so long: it ends the test.
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			tuner := m.tuner(t.TempDir())
			tuner.Settle = time.Hour
			back := make(chan struct{})
			tuner.crash = func(at string) bool {
				if up && at == "change nic/eth1/channels.combined" {
					m.put(carrier, "0")
					go func() {
						defer close(back)
						time.Sleep(100 * time.Millisecond)
						_ = os.WriteFile(filepath.Join(m.root, carrier), []byte("1\n"), 0o644)
					}()
				}
				return false
			}
			tuner.Tell = func(o Outcome) {
				if b, err := os.ReadFile(filepath.Join(m.root, carrier)); up && string(b) != "1\n" {
					t.Errorf("after %s the link was not waited for: %q, %v", o.Key, b, err)
				}
			}
			if _, out, err := tuner.Apply(ctx, options); err != nil || len(out) < 30 {
				t.Fatalf("%d changes, %v", len(out), err)
			}
			if up {
				<-back
			}
		})
	}
}

// A child that is being started has the descriptor of the lock for a moment.
func TestLockIsReleased(t *testing.T) {
	dir := t.TempDir()
	release, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(dir); err == nil || !strings.Contains(err.Error(), "another ringside tune") {
		t.Error(err)
	}
	entries := must[[]os.DirEntry](t)(os.ReadDir("/proc/self/fd"))
	held := -1
	for _, e := range entries {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); to == filepath.Join(dir, "lock") {
			fmt.Sscan(e.Name(), &held)
		}
	}
	child, err := syscall.Dup(held)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(child)
	release()
	again, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestJournalOfAnotherVersion(t *testing.T) {
	m := newMachine(t, "igb", "enp2s0")
	for _, text := range []string{"nonsense\n", `{"head":{"version":9}}` + "\n", `{"end":{}}` + "\n"} {
		dir := t.TempDir()
		if err := os.WriteFile(path(dir, "enp2s0"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := m.tuner(dir).Undo(t.Context(), "enp2s0", false); err == nil || !strings.Contains(err.Error(), "line 1") || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestStopped(t *testing.T) {
	m := newMachine(t, "ixgbe-82599", "eth1")
	before := m.state()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	tuner := m.tuner(dir)
	tuner.Tell = func(o Outcome) {
		if o.Step == "rings" {
			cancel()
		}
	}
	if _, _, err := tuner.Apply(ctx, options); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "--undo") {
		t.Error(err)
	}
	m.undo(dir, false)
	m.same(before)
}

func TestSaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if got := must[[]plan.Options](t)(Saved(dir)); got != nil {
		t.Errorf("%v", got)
	}
	o := plan.Options{Interface: "eth1", Workload: plan.Full, Queues: 4, CPUs: []int{2, 3}}
	if err := Save(dir, o); err != nil {
		t.Fatal(err)
	}
	if got := must[[]plan.Options](t)(Saved(dir)); len(got) != 1 || got[0].Interface != "eth1" || got[0].Queues != 4 || got[0].Workload != plan.Full {
		t.Errorf("%v", got)
	}
	if was := must[bool](t)(Forget(dir, "eth1")); !was {
		t.Error("there was none")
	}
	if was := must[bool](t)(Forget(dir, "eth1")); was {
		t.Error("there was one still")
	}
	if err := os.WriteFile(filepath.Join(dir, "eth2.plan"), []byte(`{"interface":"eth3"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Saved(dir); err == nil || !strings.Contains(err.Error(), "eth3") {
		t.Error(err)
	}
}

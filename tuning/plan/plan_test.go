package plan_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ringside/tuning/inventory"
	"ringside/tuning/inventory/inventorytest"
	"ringside/tuning/plan"
	"ringside/tuning/setting"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// hosts are machines, each planned for in one or more ways.
var hosts = []struct {
	name, tree string
	o          plan.Options
}{
	{"ixgbe-82599", "ixgbe-82599", plan.Options{Interface: "eth1", Workload: plan.Meter}},
	{"ixgbe-82599-all", "ixgbe-82599", plan.Options{Interface: "eth1", Workload: plan.Meter, Queues: 63, CPUs: []int{2, 3, 4, 5, 6, 7}}},
	{"ixgbe-x550", "ixgbe-x550", plan.Options{Interface: "ens5f0", Workload: plan.Full}},
	{"i40e-x710", "i40e-x710", plan.Options{Interface: "enp24s0f0", Workload: plan.Header}},
	{"ice-e810", "ice-e810", plan.Options{Interface: "ens785f0", Workload: plan.Meter}},
	{"mlx5-cx5", "mlx5-cx5", plan.Options{Interface: "enp59s0f0np0", Workload: plan.Meter}},
	{"bnxt-shared", "bnxt-shared", plan.Options{Interface: "eno1np0", Workload: plan.Meter}},
	{"bnxt-shared-force", "bnxt-shared", plan.Options{Interface: "eno1np0", Workload: plan.Meter, Force: true}},
	{"bnxt", "bnxt", plan.Options{Interface: "eno2np1", Workload: plan.SIP}},
	{"virtio", "virtio", plan.Options{Interface: "eth1", Workload: plan.Meter}},
	{"virtio-shared", "virtio-shared", plan.Options{Interface: "eth0", Workload: plan.Meter}},
	{"ena", "ena", plan.Options{Interface: "ens6", Workload: plan.Meter}},
	{"igb", "igb", plan.Options{Interface: "enp2s0", Workload: plan.SIP}},
}

// known are facts that were read already, as JSON: some trees have hundreds of files.
var known = map[string][]byte{}

func read(t *testing.T, tree, iface string) *inventory.Facts {
	t.Helper()
	if known[tree] == nil {
		root, asked := inventorytest.Tree(t, filepath.Join("testdata", tree+".txt"))
		b, err := json.Marshal(inventory.Read(inventory.Options{Root: root, Caller: asked, Interfaces: []string{iface}}))
		if err != nil {
			t.Fatal(err)
		}
		known[tree] = b
	}
	var f inventory.Facts
	if err := json.Unmarshal(known[tree], &f); err != nil {
		t.Fatal(err)
	}
	return &f
}

func TestPlans(t *testing.T) {
	for _, tc := range hosts {
		t.Run(tc.name, func(t *testing.T) {
			f := read(t, tc.tree, tc.o.Interface)
			p, err := plan.Make(f, tc.o)
			if err != nil {
				t.Fatal(err)
			}
			inventorytest.Golden(t, filepath.Join("testdata", tc.name+".plan"), text(p), *update)
			for _, s := range p.Steps {
				if s.Title == "" || s.Why == "" || s.Source == "" || s.Found == "" {
					t.Errorf("%s does not say everything: %+v", s.ID, s)
				}
				if s.State == plan.Change && (s.Effect == "" || s.Command == "" || s.Want == "" || len(s.Changes) == 0) {
					t.Errorf("%s does not say what it does: %+v", s.ID, s)
				}
				for _, c := range s.Changes {
					if !setting.Known(c.Key) {
						t.Errorf("%s changes %s, which is not known", s.ID, c.Key)
					}
				}
			}
		})
	}
}

// text is a plan as a person reads it.
func text(p *plan.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s (%s), %d Mbit/s, node %d of %d; workload %s: %d queues on processors %s\n", p.Interface, p.Card, p.Driver, p.Speed, p.Node, p.Nodes, p.Workload, p.Queues, plan.List(p.CPUs))
	for _, u := range p.Uses {
		fmt.Fprintf(&b, "shared: %s\n", u)
	}
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "\n%s %s: %s\n  found   %s\n", strings.ToUpper(string(s.State)), s.ID, s.Title, s.Found)
		for _, l := range [][2]string{{"want", s.Want}, {"do", s.Command}, {"why", s.Why}, {"effect", s.Effect}, {"source", s.Source}, {"held", s.Held}} {
			if l[1] != "" {
				fmt.Fprintf(&b, "  %-7s %s\n", l[0], l[1])
			}
		}
		fmt.Fprintf(&b, "  reboot  %s\n", map[bool]string{true: "lasts", false: "lost"}[s.Lasts])
		if s.Resets {
			b.WriteString("  resets  the link\n")
		}
		for i, c := range s.Changes {
			const most = 4
			if i == most && len(s.Changes) > most+1 {
				fmt.Fprintf(&b, "    … %d more\n", len(s.Changes)-most)
				break
			}
			fmt.Fprintf(&b, "    %s: %.30s -> %.30s\n", c.Key, c.Found, c.Want)
		}
	}
	return b.String()
}

// obey changes facts as a plan says, as a machine would.
func obey(f *inventory.Facts, changes []plan.Setting) {
	n := &f.Interfaces[0]
	for _, c := range changes {
		if name, ok := strings.CutPrefix(c.Key, "nic/"+n.Name+"/"); ok {
			n.Ethtool.Settings[name] = c.Want
			if strings.HasPrefix(name, "channels.") {
				n.RxQueues, _ = strconv.Atoi(c.Want)
			}
			continue
		}
		if _, ok := n.Settings[c.Key]; ok {
			n.Settings[c.Key] = c.Want
			continue
		}
		f.Settings[c.Key] = c.Want
	}
	n.Ethtool.Summarise()
}

// A machine that is as a plan says has nothing to change, and a plan is the same each
// time that it is made.
func TestPlanIsReached(t *testing.T) {
	for _, tc := range hosts {
		t.Run(tc.name, func(t *testing.T) {
			f := read(t, tc.tree, tc.o.Interface)
			p, err := plan.Make(f, tc.o)
			if err != nil {
				t.Fatal(err)
			}
			again, err := plan.Make(f, tc.o)
			if err != nil || text(again) != text(p) {
				t.Errorf("a second plan is another one: %v", err)
			}
			obey(f, p.Changes())
			then, err := plan.Make(f, tc.o)
			if err != nil {
				t.Fatal(err)
			}
			if left := then.Changes(); len(left) > 0 {
				t.Errorf("there is more to change: %v", left)
			}
		})
	}
}

// What every plan keeps to.
func TestPlansKeepTo(t *testing.T) {
	for _, tc := range hosts {
		f := read(t, tc.tree, tc.o.Interface)
		for _, w := range plan.Workloads {
			for _, queues := range []int{0, 1, 3, 64, 1000} {
				tc.o.Workload, tc.o.Queues = w, queues
				p, err := plan.Make(f, tc.o)
				if err != nil {
					t.Fatal(err)
				}
				n := &f.Interfaces[0]
				name := fmt.Sprintf("%s %s %d", tc.name, w, queues)
				if most := max(n.Ethtool.Limits["channels.combined"], n.Ethtool.Limits["channels.rx"]); p.Queues < 1 || p.Queues > most {
					t.Errorf("%s: %d queues of %d", name, p.Queues, most)
				}
				mgmt := inventory.Set(cmp(f.Host.Cores, "0"))
				for _, c := range p.CPUs {
					if len(tc.o.CPUs) == 0 && slices.Contains(mgmt, c) {
						t.Errorf("%s: processor %d is of the first core", name, c)
					}
				}
				seen := map[string]bool{}
				for _, c := range p.Changes() {
					if seen[c.Key] || c.Found == c.Want {
						t.Errorf("%s: %s is changed twice, or not at all", name, c.Key)
					}
					seen[c.Key] = true
					if len(p.Uses) > 0 && !tc.o.Force && strings.HasPrefix(c.Key, "nic/") && !strings.Contains(c.Key, "/coalesce.") {
						t.Errorf("%s: %s could cut the host off", name, c.Key)
					}
				}
			}
		}
	}
}

func cmp(cores []string, fallback string) string {
	if len(cores) == 0 {
		return fallback
	}
	return cores[0]
}

func TestMakeRefuses(t *testing.T) {
	f := read(t, "igb", "enp2s0")
	for _, tc := range []struct {
		o    plan.Options
		want string
	}{
		{plan.Options{Interface: "eth9", Workload: plan.Meter}, "no such interface"},
		{plan.Options{Interface: "enp2s0", Workload: "everything"}, "none of"},
		{plan.Options{Interface: "enp2s0", Workload: plan.Meter, CPUs: []int{1, 9}}, "no processor 9"},
	} {
		if _, err := plan.Make(f, tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v", tc.o, err)
		}
	}
}

func TestRingSize(t *testing.T) {
	for _, tc := range []struct {
		speed        int64
		queues, most int
		want         int
	}{
		{1000, 4, 4096, 1024}, {10_000, 8, 4096, 4096}, {10_000, 16, 4096, 2048}, {100_000, 32, 8160, 8160}, {10_000, 1, 256, 256}, {0, 8, 4096, 4096},
	} {
		if got := plan.RingSize(tc.speed, tc.queues, tc.most); got != tc.want {
			t.Errorf("%d Mbit/s, %d queues: %d, want %d", tc.speed, tc.queues, got, tc.want)
		}
	}
}

func TestList(t *testing.T) {
	for want, in := range map[string][]int{"": nil, "3": {3}, "0-2,8": {8, 1, 0, 2, 2}} {
		if got := plan.List(in); got != want {
			t.Errorf("%v: %q", in, got)
		}
	}
}

// What irqbalance leaves alone for another interface, it goes on leaving alone.
func TestTwoInterfaces(t *testing.T) {
	f := read(t, "ixgbe-82599", "eth1")
	f.Settings[setting.Banned] = setting.BanText([]int{40, 41}, "6-7")
	p, err := plan.Make(f, plan.Options{Interface: "eth1", Workload: plan.SIP, CPUs: []int{2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range p.Changes() {
		if c.Key == setting.Banned {
			if c.Want != "irqs 40,41,60,61 cpus 2-3,6-7" {
				t.Errorf("it is to leave alone %s", c.Want)
			}
			return
		}
	}
	t.Error("irqbalance is told nothing")
}

// Where nobody can say what irqbalance leaves alone, somebody has to look.
func TestIRQBalanceUnread(t *testing.T) {
	f := read(t, "ixgbe-82599", "eth1")
	delete(f.Settings, setting.Banned)
	f.Unread = map[string]string{setting.Banned: "permission denied"}
	p, err := plan.Make(f, plan.Options{Interface: "eth1", Workload: plan.Meter})
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.ID == "irqbalance" })
	if at < 0 || p.Steps[at].State != plan.ByHand || !strings.Contains(p.Steps[at].Found, "permission denied") {
		t.Errorf("%+v", p.Steps)
	}
}

// Facts are not changed by planning.
func TestFactsStay(t *testing.T) {
	f := read(t, "ixgbe-82599", "eth1")
	before := maps.Clone(f.Settings)
	if _, err := plan.Make(f, plan.Options{Interface: "eth1", Workload: plan.Meter}); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, f.Settings) {
		t.Error("settings of the facts were changed")
	}
}

// docs/tuning.md names every step, and its numbers of queues are those of the plan.
func TestManual(t *testing.T) {
	b, err := os.ReadFile("../../docs/tuning.md")
	if err != nil {
		t.Fatal(err)
	}
	manual := string(b)
	special := []string{"flow-director-atr", "rx_striding_rq", "rx_cqe_compress", "host-queues", "host-rings", "mtu", "allowances", "safe-mode", "out-of-buffer"}
	for _, tc := range hosts {
		p, err := plan.Make(read(t, tc.tree, tc.o.Interface), tc.o)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range p.Steps {
			if !slices.Contains(special, s.ID) && !strings.Contains(manual, "| "+s.ID+" |") && !strings.Contains(manual, s.ID+",") && !strings.Contains(manual, ", "+s.ID+" |") {
				t.Errorf("docs/tuning.md does not say what step %s is", s.ID)
			}
		}
	}
	for _, w := range plan.Workloads {
		row := ""
		for _, speed := range []int64{1000, 10_000, 25_000, 100_000} {
			f := &inventory.Facts{Host: inventory.Host{Online: "0-1023"}, Interfaces: []inventory.Interface{{Name: "a", Driver: "ice", SpeedMbit: speed,
				Ethtool: inventory.Ethtool{Settings: map[string]string{"channels.combined": "1"}, Limits: map[string]int{"channels.combined": 1024}}}}}
			f.Interfaces[0].Ethtool.Summarise()
			row += fmt.Sprintf(" %d |", plan.QueueCount(f, "a", w))
		}
		if !regexp.MustCompile(`(?m)^\| ` + string(w) + ` \| [0-9,]+ \|` + regexp.QuoteMeta(row) + `$`).MatchString(manual) {
			t.Errorf("docs/tuning.md has other numbers of queues for %s than |%s", w, row)
		}
	}
}

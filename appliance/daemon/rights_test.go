package daemon

import "testing"

func TestLacking(t *testing.T) {
	for name, tc := range map[string]struct{ status, want string }{
		"root":           {"Name:\tringside\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n", ""},
		"nobody":         {"Name:\tringside\nCapEff:\t0000000000000000\n", "cap_net_admin, cap_bpf, cap_perfmon"},
		"net_raw, bpf":   {"Name:\tringside\nCapEff:\t0000008000002000\n", "cap_net_admin, cap_perfmon"},
		"as recommended": {"Name:\tringside\nCapEff:\t000000c000003000\n", ""},
		"sys_admin":      {"Name:\tringside\nCapEff:\t0000000000200000\n", "cap_net_admin"},
		"not known":      {"Name:\tringside\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := lackingIn(tc.status); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

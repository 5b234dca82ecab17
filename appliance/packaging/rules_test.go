package packaging_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const rulesFile = "prometheus/ringside.rules.yml"

// alertCase is series with which an alert fires, and others with which it does not.
// Series are those of promtool: value, step a minute, times.
type alertCase struct {
	alert     string
	fires     []string
	quiet     []string
	eval      string // when it is looked
	howMany   int    // alerts that fire; 0: 1
	quietText string // what the quiet series are
}

const on = `job="ringside",instance="x"`

// mos are the buckets of a histogram in which so many calls a minute end, of which
// a share is below 3.4.
func mos(perMinute, bad int) []string {
	return []string{
		fmt.Sprintf(`ringside_call_mos_bucket{%s,le="3.4"} 0+%dx90`, on, bad),
		fmt.Sprintf(`ringside_call_mos_bucket{%s,le="4.2"} 0+%dx90`, on, bad),
		fmt.Sprintf(`ringside_call_mos_bucket{%s,le="4.4"} 0+%dx90`, on, perMinute),
		fmt.Sprintf(`ringside_call_mos_bucket{%s,le="+Inf"} 0+%dx90`, on, perMinute),
		fmt.Sprintf(`ringside_call_mos_count{%s} 0+%dx90`, on, perMinute),
	}
}

// aDay is when answers are looked at: an hour after their day.
const aDay = "1500m"

// answers are a day of calls of which 60 % are answered, and then an hour of others.
func answers(answered, failed int) []string {
	return []string{
		fmt.Sprintf(`ringside_calls_total{%s,outcome="answered"} 0+600x144 86400+%d0x9`, on, answered),
		fmt.Sprintf(`ringside_calls_total{%s,outcome="failed"} 0+400x144 57600+%d0x9`, on, failed),
	}
}

func series(format string) []string { return []string{fmt.Sprintf(format, on)} }

var alertCases = []alertCase{
	{"RingsideDown", series("up{%s} 0x30"), series("up{%s} 1x30"), "10m", 0, ""},
	{"RingsideNotReady", series("ringside_ready{%s} 0x30"), series("ringside_ready{%s} 1 1 0 0 0 1x30"), "10m", 0, "a start"},
	{"RingsidePacketsLost", series(`ringside_lost_packets_total{%s,stage="ring"} 0+60x30`), series(`ringside_lost_packets_total{%s,stage="ring"} 500x30`), "20m", 0, "losses of long ago"},
	{"RingsideLedgerGap", series("ringside_ledger_gaps{%s} 1x30"), series("ringside_ledger_gaps{%s} 0x30"), "10m", 0, ""},
	{"RingsideInterfaceSilent",
		[]string{`ringside_ring_packets_total{` + on + `,iface="eth1",ring="0"} 77x60`, `ringside_ring_packets_total{` + on + `,iface="eth1",ring="1"} 0x60`, `ringside_interface_up{` + on + `,iface="eth1"} 1x60`},
		[]string{`ringside_ring_packets_total{` + on + `,iface="eth1",ring="0"} 77x60`, `ringside_ring_packets_total{` + on + `,iface="eth1",ring="1"} 0+1x60`, `ringside_interface_up{` + on + `,iface="eth1"} 1x60`},
		"40m", 0, "one ring of two"},
	{"RingsideInterfaceDown", series(`ringside_interface_up{%s,iface="eth1"} 0x30`), series(`ringside_interface_up{%s,iface="eth1"} 1x30`), "10m", 0, ""},
	{"RingsideWorkerBusy", series(`ringside_worker_busy_ratio{%s,ring="3"} 0.97x30`), series(`ringside_worker_busy_ratio{%s,ring="3"} 0.97 0.6 0.97 0.97 0.97 0.6 0.97 0.97 0.6 0.97 0.97 0.6 0.97x20`), "20m", 0, "peaks"},
	{"RingsideClockSkew", series("ringside_time_seconds{%s} 100+60x30"), series("ringside_time_seconds{%s} 2+60x30"), "20m", 0, "two seconds"},
	{"RingsideWriterBackPressure",
		[]string{`ringside_writer_queue_bytes{` + on + `,queue="spool"} 90x30`, `ringside_writer_queue_limit_bytes{` + on + `,queue="spool"} 100x30`},
		[]string{`ringside_writer_queue_bytes{` + on + `,queue="spool"} 70x30`, `ringside_writer_queue_limit_bytes{` + on + `,queue="spool"} 100x30`, `ringside_writer_queue_bytes{` + on + `,queue="store"} 9999x30`},
		"10m", 0, ""},
	{"RingsideSpoolStopped", series("ringside_spool_up{%s} 0x30"), series("ringside_spool_up{%s} 1x30"), "10m", 0, ""},
	{"RingsideSpoolTooShort",
		[]string{`ringside_spool_reach_seconds{` + on + `,class="rtp"} 86400x120`, `ringside_spool_policy_seconds{` + on + `,class="rtp"} 604800x120`,
			`ringside_spool_reach_seconds{` + on + `,class="sip"} 604800x120`, `ringside_spool_policy_seconds{` + on + `,class="sip"} 604800x120`},
		[]string{`ringside_spool_reach_seconds{` + on + `,class="rtp"} 60x120`, `ringside_spool_policy_seconds{` + on + `,class="rtp"} 0x120`},
		"90m", 0, "no days are configured"},
	{"RingsideStoreAway", series("ringside_store_up{%s} 0x30"), series("ringside_store_up{%s} 1x30"), "10m", 0, ""},
	{"RingsideNotWritten",
		[]string{`ringside_writer_drops_total{` + on + `,reason="store"} 0 0 5x30`, `ringside_writer_drops_total{` + on + `,reason="spool disk"} 0 0 5x30`},
		[]string{`ringside_writer_drops_total{` + on + `,reason="store"} 5x30`, `ringside_writer_drops_total{` + on + `,reason="spool rule"} 0+9x30`},
		"8m", 2, "what a rule gave up"},
	{"RingsideQualityLow", mos(20, 4), mos(20, 1), "60m", 0, "one call in twenty"},
	{"RingsideQualityLow", mos(20, 4), mos(2, 2), "60m", 0, "few calls"},
	{"RingsideAnswersFall", answers(30, 70), answers(55, 45), aDay, 0, ""},
	{"RingsideAnswersFall", answers(30, 70), answers(0, 2), aDay, 0, "a quiet night"},
}

// need skips a test where a program is missing.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	return path
}

// alertNames are those of the rules.
func alertNames(t *testing.T) (out []string) {
	t.Helper()
	b, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllSubmatch(b, -1) {
		out = append(out, string(m[1]))
	}
	return out
}

// Each alert fires on what it is for, and is quiet on what is near to it.
func TestAlerts(t *testing.T) {
	promtool := need(t, "promtool")
	if out, err := exec.Command(promtool, "check", "rules", "--lint-fatal", rulesFile).CombinedOutput(); err != nil {
		t.Fatalf("promtool check rules: %v\n%s", err, out)
	}
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{} // by step: a day in minutes would take long
	var tried []string
	for _, tc := range alertCases {
		tried = append(tried, tc.alert)
		tests[tc.step()] += tc.yaml("fires", tc.fires, max(1, tc.howMany)) + tc.yaml("quiet "+tc.quietText, tc.quiet, 0)
	}
	for _, name := range alertNames(t) {
		if !slices.Contains(tried, name) {
			t.Errorf("alert %s has no test", name)
		}
	}
	for step, text := range tests {
		file := filepath.Join(t.TempDir(), "tests.yml")
		text = fmt.Sprintf("rule_files: [%q]\nevaluation_interval: %s\ntests:\n", rules, step) + text
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(promtool, "test", "rules", file).CombinedOutput(); err != nil {
			t.Errorf("promtool test rules: %v\n%s", err, out)
		}
	}
}

// step is the time between two values of the series.
func (c *alertCase) step() string {
	if c.eval == aDay {
		return "10m"
	}
	return "1m"
}

// yaml is a test of promtool.
func (c *alertCase) yaml(what string, series []string, firing int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  - name: %q\n    interval: %s\n    input_series:\n", c.alert+" "+what, c.step())
	for _, s := range series {
		name, values, _ := strings.Cut(s, "} ")
		fmt.Fprintf(&b, "      - series: '%s}'\n        values: '%s'\n", name, values)
	}
	fmt.Fprintf(&b, "    promql_expr_test:\n      - expr: sum(ALERTS{alertname=%q,alertstate=\"firing\"} or vector(0))\n", c.alert)
	fmt.Fprintf(&b, "        eval_time: %s\n        exp_samples: [{labels: '{}', value: %d}]\n", c.eval, firing)
	return b.String()
}

package cli

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"ringside/flow/record"
)

// parseRead is the flags of a command line of read.
func parseRead(line string) (readFlags, error) {
	var f readFlags
	fl := pflag.NewFlagSet("read", pflag.ContinueOnError)
	addReadFlags(fl, &f)
	if err := fl.Parse(strings.Fields(line)); err != nil {
		return f, err
	}
	f.paths = fl.Args()
	return f, errors.Join(f.check(fl.Changed), f.spool.check(fl))
}

func TestReadFlags(t *testing.T) {
	plainRead, err := parseRead("x.pcap")
	if err != nil {
		t.Fatal(err)
	}
	standard := readFlags{
		paths: []string{"x.pcap"}, dedup: "auto", dedupWindow: 10 * time.Millisecond, bothSides: "no",
		regDelDelay: 5 * time.Second, regExpDelta: 30 * time.Second, tcpIdle: time.Hour, tcpReorder: time.Minute,
		replay: replayFlags{scale: 1}, loop: 1, keyLogs: []string{}, rsaKeys: []string{},
	}
	plainRead.keyLogs, plainRead.rsaKeys = []string{}, []string{} // nil is as good
	if !reflect.DeepEqual(plainRead, standard) {
		t.Errorf("without flags %+v, want %+v", plainRead, standard)
	}
	got, err := parseRead("--keylog a.log --keylog b,c.log --rsa-key k.pem --dedup on --dedup-window 1s --natalias 10.0.0.5=203.0.113.7 --natalias ::1=10.0.0.1 " +
		"--check-both-sides strict --link-header X-Leg --event-types-off other-ok,sub-new --reg-del-delay 0 --reg-exp-delta 1m --tcp-idle 5m --tcp-reorder 2s " +
		"--vxlan-ports 4789,8472 --replay --replay-scale 0.5 --replay-min-delay 1ms --replay-max-delay 1s --loop 3 --end-wait 1s --end-force-timeout 1h --json - --keys x.pcap")
	if err != nil {
		t.Fatal(err)
	}
	want := readFlags{
		paths: []string{"x.pcap"}, keyLogs: []string{"a.log", "b,c.log"}, rsaKeys: []string{"k.pem"}, dedup: "on", dedupWindow: time.Second,
		natAliases: []string{"10.0.0.5=203.0.113.7", "::1=10.0.0.1"}, bothSides: "strict", linkHeader: "X-Leg",
		eventsOff: []record.EventKind{record.OtherOK, record.SubNew}, regExpDelta: time.Minute, tcpIdle: 5 * time.Minute, tcpReorder: 2 * time.Second,
		vxlanPorts: []uint16{4789, 8472}, replay: replayFlags{on: true, scale: 0.5, minDelay: time.Millisecond, maxDelay: time.Second},
		loop: 3, endWait: time.Second, endForceTimeout: time.Hour, json: "-", keys: true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("all flags %+v\nwant %+v", got, want)
	}
}

// The names that other programs have for these flags are taken too.
func TestOldNames(t *testing.T) {
	got, err := parseRead("--replay --delay_scale 2 --pcap-loop 4 --event_types_blst reg-new --tcp-connection-timeout 2m --tcp_reorder_timeout 3s " +
		"--udp-port-vxlan 1 --rtp-check-both-sides-by-sdp yes --calls-max-entries 9 --reg_del_delay 1s --end_force_timeout 2s --end_wait 0 x")
	if err != nil {
		t.Fatal(err)
	}
	if got.replay.scale != 2 || got.loop != 4 || len(got.eventsOff) != 1 || got.tcpIdle != 2*time.Minute || got.tcpReorder != 3*time.Second ||
		!reflect.DeepEqual(got.vxlanPorts, []uint16{1}) || got.bothSides != "yes" || got.callsMax != 9 || got.regDelDelay != time.Second || got.endForceTimeout != 2*time.Second {
		t.Errorf("flags %+v", got)
	}
	var f readFlags
	fl := pflag.NewFlagSet("read", pflag.ContinueOnError)
	addReadFlags(fl, &f)
	if help := fl.FlagUsages(); strings.Contains(help, "delay-scale") && strings.Contains(help, "pcap-loop") {
		t.Errorf("the help lists other programs' names:\n%s", help)
	}
}

// A wrong value gets an error that names the flag, the value and the remedy.
func TestReadFlagErrors(t *testing.T) {
	for _, tc := range []struct{ args, flag, value, remedy string }{
		{"--dedup maybe", "--dedup", "maybe", "write auto, on or off"},
		{"--dedup-window 2s", "--dedup-window", "2s", "up to 1s, such as 10ms"},
		{"--dedup-window 0", "--dedup-window", "0", "above 0"},
		{"--natalias 10.0.0.1", "--natalias", "10.0.0.1", "write two addresses, as in"},
		{"--natalias 10.0.0.1=10.0.0.1", "--natalias", "10.0.0.1=10.0.0.1", "write two addresses"},
		{"--natalias host=10.0.0.1", "--natalias", "host=10.0.0.1", "write two addresses"},
		{"--link-header X-Leg:", "--link-header", "X-Leg:", "without the colon"},
		{"--event-types-off reg-new,all", "--event-types-off", "all", "not one of call-start"},
		{"--reg-del-delay -1s", "--reg-del-delay", "-1s", "such as 10ms, 30s"},
		{"--reg-exp-delta soon", "--reg-exp-delta", "soon", "such as 10ms, 30s"},
		{"--tcp-idle 0", "--tcp-idle", "0", "at least 1s"},
		{"--tcp-reorder 1", "--tcp-reorder", "1", "at least 1s"},
		{"--vxlan-ports 4789,0", "--vxlan-ports", "4789,0", "from 1 to 65535"},
		{"--vxlan-ports 70000", "--vxlan-ports", "70000", "from 1 to 65535"},
		{"--check-both-sides maybe", "--check-both-sides", "maybe", "write no, yes or strict"},
		{"--replay --replay-scale 0", "--replay-scale", "0", "1 is as recorded"},
		{"--replay --replay-scale NaN", "--replay-scale", "NaN", "a number above 0"},
		{"--replay --replay-pps -1", "--replay-pps", "-1", "a number above 0"},
		{"--loop 0", "--loop", "0", "from 1 to 65535"},
		{"--loop many", "--loop", "many", "from 1 to 65535"},
		{"--end-wait -1s", "--end-wait", "-1s", "or 0"},

		{"--replay-scale 2", "--replay-scale", "", "add --replay"},
		{"--replay-pps 100", "--replay-pps", "", "add --replay"},
		{"--replay --replay-min-delay 2s --replay-max-delay 1s", "--replay-max-delay", "1s", "make it longer"},
		{"--replay --replay-pps 100 --replay-scale 2", "--replay-pps", "", "leave out --replay-scale"},
		{"--loop 2 -", "--loop", "2", "name a file"},
		{"--json - --csv -", "JSON and CSV", "", "name a file for one of them"},
		{"--json out --csv ./out", "--csv ./out", "the file of --json", "name another file"},
		{"--db out --json out", "--json out", "the file of --db", "name another file"},
		{"--json x.pcap", "--json x.pcap", "an input", "name another file"},
		{"--db=", "--db", "is empty", "leave the flag out"},
		{"--keys", "--keys", "only JSON has keys", "add --json FILE"},
		{"--workers -1", "--workers -1", "", "or 0 for one per CPU"},
		{"--calls-max -1", "--calls-max -1", "", "or 0 for the default"},
		{"--dedup off --dedup-window 20ms", "--dedup off", "--dedup-window", "write --dedup on"},
		{"--spool s --spool-quota 5apples", "--spool-quota", "5apples", "as in 200GiB"},
		{"--spool s --spool-quota 5GiB,fax=1GiB", "--spool-quota", "fax", "one of sip, rtp, register"},
		{"--spool s --spool-days 30,sip=-1", "--spool-days", "-1", "above 0"},
		{"--spool s --spool-memory 10KiB", "--spool-memory", "10KiB", "at least 1MiB"},
		{"--spool s --spool-cold ./s", "--spool-cold", "./s", "name another one"},
		{"--spool s --spool-cold-quota 1GiB", "--spool-cold-quota", "", "add --spool-cold DIR"},
		{"--spool s --maxpoolsipdays-2 1", "--maxpoolsipdays-2", "", "add --spool-cold DIR"},
		{"--spool-root", "--spool-root", "", "add --spool DIR"},
		{"--maxpoolsipsize 1000", "--maxpoolsipsize", "", "add --spool DIR"},
		{"--rules r", "--rules", "", "add --spool DIR"},
		{"--spool=", "--spool", "is empty", "leave the flag out"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			_, err := parseRead(tc.args + " x.pcap")
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range []string{tc.flag, tc.value, tc.remedy} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q, want %q in it", err, part)
				}
			}
		})
	}
	code, _, errs := run(t, "read", "--loop", "2", "-")
	if code != exitUsage || !strings.Contains(errs, "--loop 2") {
		t.Errorf("exit %d, %q", code, errs)
	}
	var c coded
	if _, err := parseRead("--replay-pps 1 x"); !errors.As(err, &c) || c.code != exitUsage {
		t.Errorf("error %v is none of usage", err)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Hour: "1h", time.Minute: "1m", 90 * time.Minute: "1h30m", 5 * time.Second: "5s", 10 * time.Millisecond: "10ms",
		time.Hour + time.Second: "1h0m1s", 20 * time.Minute: "20m",
	} {
		if got := short(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

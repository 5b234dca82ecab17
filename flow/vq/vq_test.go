package vq

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
)

// sessionReport is a report at the end of a call with all that RFC 6035 section
// 4.6.2 names.
const sessionReport = `VQSessionReport: CallTerm
CallID: 6dg37f1890463
LocalID: Alice <sip:alice@example.org>
RemoteID: Bill <sip:bill@example.net>
OrigID: Alice <sip:alice@example.org>
LocalGroup: example-phone-55671
RemoteGroup: example-gateway-09871
LocalAddr: IP=10.10.1.100 PORT=5000 SSRC=1a3b5c7d
LocalMAC: 00:1f:5b:cc:21:0f
RemoteAddr:IP=11.1.1.150 PORT=5002 SSRC=0x2468abcd
RemoteMAC: 00:26:08:8e:95:02
LocalMetrics:
Timestamps:START=2004-10-10T18:23:43Z STOP=2004-10-10T18:26:02Z
SessionDesc:PT=18 PD=G729 SR=8000 FD=20 FO=20 FPP=2 PPS=50 FMTP="annexb=no" PLC=3 SSUP=on
JitterBuffer:JBA=3 JBR=2 JBN=40 JBM=80 JBX=120
PacketLoss:NLR=5.0 JDR=2.0
BurstGapLoss:BLD=0.5 BD=60 GLD=2.0 GD=500 GMIN=16
Delay:RTD=200 ESD=140 SOWD=200 IAJ=2 MAJ=10
Signal:SL=-18 NL=-50 RERL=55
QualityEst:RLQ=90 RCQ=85 EXTRI=90 MOSLQ=4.2 MOSCQ=4.3 QoEEstAlg=P.564
RemoteMetrics:
Timestamps:START=2005-10-10T18:23:43Z STOP=2005-10-10T18:26:02Z
SessionDesc:PT=8 PD=PCMA SR=8000
JitterBuffer:JBA=3 JBR=2 JBN=41 JBM=81 JBX=121
PacketLoss:NLR=6.0 JDR=3.0
BurstGapLoss:BLD=1 BD=1 GLD=1 GD=1 GMIN=16
Delay:RTD=1 ESD=1 SOWD=1 IAJ=1 MAJ=1
Signal:SL=-1 NL=-2 RERL=3
QualityEst:RLQ=1 RCQ=1 EXTRI=1 MOSLQ=1.3 MOSCQ=1.2 QoEEstAlg=P.564
DialogID:1890463548@alice.example.org;to-tag=8472761;
  from-tag=9123dh311
`

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

var none = record.XR{Reports: 1, RTT: -1, EndDelay: -1, MOSLQ: -1, MOSCQ: -1}

// with is a report of nothing but what f sets.
func with(f func(r *record.QualityReport)) record.QualityReport {
	r := record.QualityReport{Kind: "session", CallID: "c", XR: none}
	f(&r)
	return r
}

var whole = record.QualityReport{
	CallID: "6dg37f1890463", Kind: "session",
	LocalID: "Alice <sip:alice@example.org>", RemoteID: "Bill <sip:bill@example.net>",
	Local: at("10.10.1.100:5000"), Remote: at("11.1.1.150:5002"), SSRC: 0x2468abcd, Codec: "G729",
	Start: time.Date(2004, 10, 10, 18, 23, 43, 0, time.UTC).UnixNano(),
	Stop:  time.Date(2004, 10, 10, 18, 26, 2, 0, time.UTC).UnixNano(),
	XR: record.XR{
		Reports: 1, Loss: 5, Discard: 2, BurstLoss: 0.5, GapLoss: 2, Burst: 60, Gap: 500, RTT: 200, EndDelay: 140,
		Signal: -18, Noise: -50, RERL: 55, R: 85, ExternalR: 90, MOSLQ: 4.2, MOSCQ: 4.3, JitterBuffer: 40, JitterMax: 80,
	},
}

func TestParse(t *testing.T) {
	alert := whole
	alert.Kind = "alert"
	for _, c := range []struct {
		name, in string
		want     record.QualityReport
		err      string
	}{
		{name: "session report", in: sessionReport, want: whole},
		{name: "the same, folded", in: strings.NewReplacer(" PORT", "\n\tPORT", " RCQ", "\n  RCQ", " BD", "\n BD").Replace(sessionReport), want: whole},
		{name: "the same, with blanks", in: strings.NewReplacer(":IP", "  : IP", "=5.0", " = 5.0 ;").Replace(sessionReport), want: whole},
		{name: "the same, metrics first", in: func() string {
			head, metrics, _ := strings.Cut(sessionReport, "CallID")
			info, metrics, _ := strings.Cut(metrics, "LocalMetrics")
			return head + "LocalMetrics" + metrics + "CallID" + info
		}(), want: whole},
		{name: "the same, as an alert", in: "VQAlertReport: Type=NLR Severity=Critical Dir=local\n" + sessionReport, want: alert},
		{name: "interval, without a colon", in: "VQIntervalReport\nCallID:c\n", want: with(func(r *record.QualityReport) { r.Kind = "interval" })},
		{
			name: "as a desk phone writes it, on few lines",
			in:   "vqsessionreport : callterm\r\ncallid:c\r\nNLR=0.50 jdr=1.20 BLD=0.30\r\nMOSLQ=4.5 RLQ=92.0\r\n",
			want: with(func(r *record.QualityReport) {
				r.XR.Loss, r.XR.Discard, r.XR.BurstLoss, r.XR.MOSLQ, r.XR.R = 0.5, 1.2, 0.3, 4.5, 92
			}),
		},
		{
			name: "not available", in: "VQSessionReport: CallTerm\nCallID: c\nSignal: SL=127 NL=127 RERL=127\nQualityEst: RLQ=127 RCQ=127 EXTRI=127 MOSLQ=127 MOSCQ=127\nDelay: RTD=0",
			want: with(func(r *record.QualityReport) {
				r.XR.Signal, r.XR.Noise, r.XR.RERL, r.XR.R, r.XR.ExternalR, r.XR.RTT = -1, -1, -1, -1, -1, 0
			}),
		},
		{
			name: "addresses", in: "VQSessionReport\nDialogID: c;to-tag=1\nLocalAddr: IP=[2001:db8::1%eth0] PORT=7\nRemoteAddr: IP=::ffff:192.0.2.1 SSRC=3735928559\n",
			want: with(func(r *record.QualityReport) {
				r.Local, r.Remote, r.SSRC = at("[2001:db8::1]:7"), at("192.0.2.1:0"), 3735928559
			}),
		},
		{
			name: "no numbers, no times, no addresses",
			in:   "VQSessionReport\nCallID: c\nTimestamps: START=0 STOP=never\nPacketLoss: NLR=NaN JDR=inf GLD=1e300 GD=\nLocalAddr: IP=phone PORT=70000\nRemoteAddr: SSRC=0x123456789\nSignal: SL=99999\nDelay\n=\n",
			want: with(func(r *record.QualityReport) { r.XR.Signal = math.MaxInt16 }),
		},
		{name: "lines that mean something else", in: "VQSessionReport\nCallID: c\nX-Vendor: NLR=9 MOSLQ=1\n  JDR=9\nLocalID: \"a=b\" <sip:a;NLR=3@h>\n",
			want: with(func(r *record.QualityReport) { r.LocalID = `"a=b" <sip:a;NLR=3@h>` })},
		{name: "not UTF-8, and long", in: "VQSessionReport\nCallID: c\nLocalID: \xff" + strings.Repeat("ü", 300) + "\n",
			want: with(func(r *record.QualityReport) { r.LocalID = "\uFFFD" + strings.Repeat("ü", 126) })},
		{name: "no report", in: "v=0\no=- 1 1 IN IP4 h\n", err: "begins with no VQSessionReport"},
		{name: "no call", in: "VQSessionReport: CallTerm\nNLR=5\n", err: "names no call"},
		{name: "empty", in: "", err: "begins with no"},
		{name: "too long", in: strings.Repeat("x", maxBody+1), err: "are more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r record.QualityReport
			err := Parse([]byte(c.in), &r)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got error %v, want one with %q", err, c.err)
				}
				return
			}
			if r.ID <= 0 {
				t.Errorf("ID %d", r.ID)
			}
			r.ID = 0
			if err != nil || r != c.want {
				t.Errorf("%v\ngot  %+v\nwant %+v", err, r, c.want)
			}
		})
	}
}

// TestID: the same report of another time is another one, and a new parse of
// the same one is not.
func TestID(t *testing.T) {
	ids := make(map[int64]string)
	for _, c := range []struct {
		time int64
		body string
	}{{1, sessionReport}, {2, sessionReport}, {1, strings.Replace(sessionReport, "NLR=5.0", "NLR=5.1", 1)}} {
		r := record.QualityReport{Time: c.time}
		again := r
		if err := Parse([]byte(c.body), &r); err != nil {
			t.Fatal(err)
		}
		if err := Parse([]byte(c.body), &again); err != nil || again != r {
			t.Errorf("%v, again %+v, was %+v", err, again, r)
		}
		if ids[r.ID] != "" {
			t.Errorf("one ID for two reports: %s, %s", ids[r.ID], c.body)
		}
		ids[r.ID] = c.body
	}
}

func TestIs(t *testing.T) {
	for in, want := range map[string]bool{
		"application/vq-rtcpxr": true, "Application/VQ-RTCPXR ; charset=utf-8": true,
		"": false, "application/vq-rtcpxr2": false, "application/sdp": false,
	} {
		if Is([]byte(in)) != want {
			t.Errorf("%q: %v", in, !want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sessionReport))
	f.Add([]byte("VQAlertReport\nDialogID: c;x\nSSRC=1 = \"IP=\"\n\tMOSLQ=127,NL=-99999;RTD=\"1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r record.QualityReport
		if Parse(b, &r) != nil {
			return
		}
		if r.CallID == "" || r.Kind == "" || r.ID < 0 || len(r.CallID) > maxCallID || len(r.LocalID) > maxText || len(r.Codec) > maxText {
			t.Fatalf("%+v", r)
		}
		text, err := json.Marshal(&r)
		if err != nil {
			t.Fatal(err)
		}
		var back record.QualityReport
		if err := json.Unmarshal(text, &back); err != nil || fmt.Sprint(back) != fmt.Sprint(r) {
			t.Fatalf("%v\n%+v\nwas\n%+v", err, back, r)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	body := []byte(sessionReport)
	var r record.QualityReport
	b.ReportAllocs()
	for b.Loop() {
		if err := Parse(body, &r); err != nil {
			b.Fatal(err)
		}
	}
}

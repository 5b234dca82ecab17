package cli

import (
	"fmt"
	"io"
	"strings"

	"ringside/flow/record"
)

// writeCall shows one call: what became of it, parties, timing, the ladder of
// its signalling, its streams, the media endpoints that SDP named, and the calls
// and reports that belong to it.
func writeCall(w io.Writer, l look, p callPage) error {
	var b strings.Builder
	c := p.call
	l.title(&b, c)
	l.parties(&b, c)
	l.timing(&b, c)
	fmt.Fprintf(&b, "\nSignalling: %s", plural(c.MessagesTotal, "message"))
	if n := uint32(len(c.Messages)); n < c.MessagesTotal {
		fmt.Fprintf(&b, ", of which the first and last %s were kept", count(n))
	}
	b.WriteString("\n")
	if err := writeLadder(&b, l, c.Messages); err != nil {
		return err
	}
	l.legs(&b, c)
	if err := l.linked(&b, p); err != nil {
		return err
	}
	l.dialled(&b, p)
	l.streams(&b, c)
	l.reported(&b, p)
	l.media(&b, c)
	_, err := io.WriteString(w, b.String())
	return err
}

// field writes a named line, its text wrapped and aligned.
func (l look) field(b *strings.Builder, name string, parts ...string) {
	const indent = 18
	var words []string
	for _, p := range parts {
		if p != "" {
			words = append(words, p)
		}
	}
	if len(words) == 0 {
		return
	}
	text := wrap(words, ",", l.textWidth()-indent, 0)
	text = strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", indent))
	fmt.Fprintf(b, "  %s%s\n", padRight(name, indent-2), text)
}

func (l look) title(b *strings.Builder, c *record.Call) {
	fmt.Fprintf(b, "Call %s\n", clean(c.CallID))
	status := ""
	if c.LastStatus != 0 {
		status = strings.TrimSpace(fmt.Sprintf("%d %s", c.LastStatus, clean(c.LastReason)))
	}
	l.field(b, "id", fmt.Sprint(c.ID))
	if c.Sensor != 0 {
		l.field(b, "sensor", fmt.Sprint(c.Sensor))
	}
	l.field(b, "outcome", c.Outcome.String(), status, endWords(c))
	l.field(b, "causes", cause("Q.850", c.Q850Cause, c.Q850Text), cause("SIP", c.SIPCause, c.SIPText))
	l.field(b, "remarks", flagWords(c.Flags)...)
	l.fax(b, c)
	l.identifiers(b, c)
}

// endWords says how the call ended and who ended it.
func endWords(c *record.Call) string {
	by := ""
	if c.HungUp != record.SideUnknown {
		by = " by " + c.HungUp.String()
	}
	switch c.EndReason {
	case record.EndBye:
		return "BYE" + by
	case record.EndByeAlone:
		return "BYE" + by + " without an answer"
	case record.EndCancel:
		return "CANCEL" + by
	case record.EndRejected:
		return "" // the status says it
	case record.EndTimeout:
		return "ended by a timer"
	case record.EndOfCapture:
		return "open when the capture ended"
	case record.EndEvicted:
		return "closed early, the call table was full"
	}
	return ""
}

func cause(kind string, code uint16, text string) string {
	if code == 0 && text == "" {
		return ""
	}
	s := fmt.Sprintf("%s cause %d", kind, code)
	if text != "" {
		s += " " + clean(text)
	}
	return s
}

// flagSentences are the flags in words, short enough for a line of the summary.
var flagSentences = map[record.Flags]string{
	record.OneWay:       "audio in one direction only",
	record.NoRTP:        "no RTP at all",
	record.Silence:      "a direction fell silent early",
	record.SRTP:         "SRTP",
	record.Incomplete:   "our capture lost packets",
	record.MidCall:      "capture began in mid-call",
	record.EarlyMedia:   "early media",
	record.LateSDP:      "RTP came before its SDP",
	record.OnHoldAtEnd:  "on hold at the end",
	record.PortReuse:    "media port of an earlier call",
	record.NATed:        "RTP not where SDP said (NAT)",
	record.MessagesCut:  "not all messages kept",
	record.SIPCut:       "SIP cut by the snap length",
	record.SharedMedia:  "stream shared with another call",
	record.Fax:          "fax (T.38)",
	record.Encrypted:    "signalling was encrypted",
	record.OneDirection: "SIP seen in one direction only",
	record.Hairpin:      "media turned back by a relay",
	record.MirrorLoss:   "packets lost by the mirror port",
}

// flagWords says the set flags in words.
func flagWords(f record.Flags) []string {
	var out []string
	for bit := record.Flags(1); bit != 0 && bit <= f; bit <<= 1 {
		switch s, known := flagSentences[bit]; {
		case f&bit == 0:
		case known:
			out = append(out, s)
		default:
			out = append(out, strings.Join(bit.Names(), " "))
		}
	}
	return out
}

func (l look) parties(b *strings.Builder, c *record.Call) {
	b.WriteString("\nParties\n")
	l.field(b, "caller", l.party(&c.Caller)...)
	l.field(b, "called", l.party(&c.Called)...)
	if c.RequestUser != c.Called.Number || c.RequestDomain != c.Called.Domain {
		l.field(b, "requested", uri(c.RequestUser, c.RequestDomain))
	}
	if c.AuthUser != "" {
		l.field(b, "login", clean(c.AuthUser))
	}
	vlan := ""
	if c.VLAN >= 0 {
		vlan = fmt.Sprintf("VLAN %d", c.VLAN)
	}
	l.field(b, "transport", strings.ToUpper(c.Transport.String()), vlan, fmt.Sprintf("DSCP %d", c.DSCP))
	l.field(b, "tunnel", l.tunnel(c.Tunnel)...)
	if c.SIPStored.Level != record.NotKnown {
		l.field(b, "packets stored", storedWords("SIP", c.SIPStored), storedWords("RTP", c.RTPStored), "by rule "+clean(c.Rule))
	}
}

// storedWords says what the spool got of a class: "SIP full (7)".
func storedWords(class string, s record.Stored) string {
	words := class + " " + s.State()
	if s.Packets > 0 || s.Missed > 0 {
		words += " (" + count(uint64(s.Packets))
		if s.Missed > 0 {
			words += ", " + count(uint64(s.Missed)) + " missed"
		}
		words += ")"
	}
	return words
}

func (l look) party(p *record.Party) []string {
	who := "unknown"
	if p.Number != "" || p.Domain != "" {
		who = "<" + uri(p.Number, p.Domain) + ">"
	}
	if p.Name != "" {
		who = `"` + clean(p.Name) + `" ` + who
	}
	out := []string{who, l.address(p.Addr)}
	if p.Agent != "" {
		out = append(out, clean(p.Agent))
	}
	return out
}

func uri(user, domain string) string {
	if user == "" {
		return clean(domain)
	}
	if domain == "" {
		return clean(user)
	}
	return clean(user) + "@" + clean(domain)
}

func (l look) timing(b *strings.Builder, c *record.Call) {
	b.WriteString("\nTiming\n")
	l.field(b, "start", l.moment(c.Start))
	l.field(b, "end", l.moment(c.End))
	since := func(name string, from, to int64) {
		if from != 0 && to != 0 {
			l.field(b, name, seconds(to-from))
		}
	}
	since("trying after", c.Start, c.Trying)
	if d, ok := postDial(c); ok {
		l.field(b, "post-dial delay", seconds(d))
	}
	since("answered after", c.Start, c.Answer)
	l.field(b, "duration", seconds(duration(c)))
	if c.Answer != 0 {
		l.field(b, "connected", seconds(connected(c)))
	}
	since("post-bye delay", c.ByeAt, c.Last)
	var counts []string
	for _, n := range []struct {
		of   uint32
		noun string
	}{
		{c.Invites, "INVITE"}, {c.Reinvites, "re-INVITE"}, {c.Retransmissions, "retransmission"},
		{c.Challenges, "challenge"}, {c.Holds, "hold"}, {c.Forks, "fork"}, {c.Redirects, "redirect"},
		{c.Refers, "REFER"}, {c.Infos, "INFO"}, {c.Pracks, "PRACK"}, {c.Updates, "UPDATE"},
	} {
		if n.of > 0 {
			counts = append(counts, plural(n.of, n.noun))
		}
	}
	l.field(b, "counts", counts...)
}

// legs lists the dialogs of a call that has more than one.
func (l look) legs(b *strings.Builder, c *record.Call) {
	if len(c.Legs) < 2 {
		return
	}
	fmt.Fprintf(b, "\nLegs: %d dialogs\n", len(c.Legs))
	for _, leg := range c.Legs {
		answered := "not answered"
		if leg.Answer != 0 {
			answered = "answered after " + seconds(leg.Answer-c.Start)
		}
		fmt.Fprintf(b, "  +%s  %3d  %s  tag %s\n", padRight(seconds(leg.First-c.Start), 10), leg.Status,
			answered, l.shorten(clean(leg.Tag), 30))
	}
}

func (l look) streams(b *strings.Builder, c *record.Call) {
	if len(c.Streams) == 0 {
		b.WriteString("\nStreams: none\n")
		return
	}
	fmt.Fprintf(b, "\nStreams: %d\n", len(c.Streams))
	for i := range c.Streams {
		if i > 0 {
			b.WriteString("\n")
		}
		l.stream(b, c, &c.Streams[i])
	}
}

// stream shows one RTP stream with both families of MOS.
func (l look) stream(b *strings.Builder, c *record.Call, s *record.Stream) {
	from := "from unknown"
	if s.From != record.SideUnknown {
		from = "from " + s.From.String()
	}
	fmt.Fprintf(b, "  %s  %s %s %s  SSRC 0x%08x\n", from, l.address(s.Src), l.arrow(), l.address(s.Dst), s.SSRC)
	codec := clean(s.Codec)
	if codec == "" {
		codec = "unknown codec"
	}
	if s.Rate != 0 {
		codec += fmt.Sprintf("/%d", s.Rate)
	}
	ptime := ""
	if s.Ptime != 0 {
		ptime = fmt.Sprintf("%d ms", s.Ptime)
	}
	srtp := ""
	if s.SRTP {
		srtp = "SRTP"
	}
	l.field(b, "  codec", codec, ptime, fmt.Sprintf("payload type %d", s.Payload), srtp, epoch(c, s.Epoch), clean(s.Flags))
	l.field(b, "  packets", count(s.Packets)+" in "+seconds(s.Last-s.First), "from +"+seconds(s.First-c.Start), size(int64(s.Bytes)))
	l.field(b, "  loss", fmt.Sprintf("%s of %s (%.2f %%)", count(s.Lost), count(s.Expected), loss(s)),
		nonzero(s.LossRunMax, "longest run %s"), nonzero(s.Duplicate, "%s duplicate"),
		nonzero(s.Reordered, "%s reordered"), nonzero(s.Resets, "%s sequence resets"))
	l.field(b, "  late", latePart(s.LateF1, s.Expected, "50 ms buffer"), latePart(s.LateF2, s.Expected, "200 ms"), latePart(s.LateAdapt, s.Expected, "adaptive"))
	l.field(b, "  jitter", "mean "+ms(s.JitterAvg), "max "+ms(s.JitterMax), "longest gap "+ms(s.DeltaMax),
		fmt.Sprintf("clock drift %+.0f ppm", s.SkewPPM))
	if rated(s) {
		l.field(b, "  MOS", l.mos(s.MOS.LQ)+" listening", l.mos(s.MOS.CQ)+" conversational", "worst 10 s "+l.mos(s.MOS.Min),
			s.MOS.Method, s.MOS.Confidence, "n = "+count(s.MOS.N))
	} else {
		l.field(b, "  MOS", "not rated", s.MOS.Method, s.MOS.Confidence)
	}
	l.field(b, "  compatible", compat("f1", s.Compat.MosF1, s.Compat.MosF1Min), compat("f2", s.Compat.MosF2, s.Compat.MosF2Min),
		compat("adaptive", s.Compat.MosAdapt, s.Compat.MosAdaptMin), fmt.Sprintf("loss %.3f %%", s.Compat.LossPerc))
	if r := s.RTCP; r.Reports > 0 {
		rtt := ""
		if r.RTT > 0 {
			rtt = fmt.Sprintf("round trip mean %s max %s", ms(r.RTT), ms(r.RTTMax))
		}
		l.field(b, "  RTCP", plural(r.Reports, "report"), fmt.Sprintf("lost %s (mean %.2f %%", count(r.Lost), r.FracAvg)+
			fmt.Sprintf(" max %.2f %%)", r.FracMax), "jitter mean "+ms(r.JitterAvg)+" max "+ms(r.JitterMax), rtt)
	}
	if s.XR.Reports > 0 {
		l.field(b, "  RTCP-XR", append([]string{plural(s.XR.Reports, "report")}, l.xr(&s.XR)...)...)
	}
}

func compat(name string, avg, least float64) string {
	return fmt.Sprintf("%s %.2f (least %.2f)", name, avg, least)
}

func latePart(n, of uint64, buffer string) string {
	if of == 0 {
		return ""
	}
	return fmt.Sprintf("%s %.2f %%", buffer, 100*float64(n)/float64(of))
}

// nonzero is format with n, or nothing for 0.
func nonzero[T ~uint32 | ~uint64](n T, format string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(format, count(n))
}

// media lists the endpoints that SDP named.
func (l look) media(b *strings.Builder, c *record.Call) {
	if len(c.Media) == 0 {
		return
	}
	b.WriteString("\nMedia endpoints in SDP\n")
	for _, m := range c.Media {
		ptime, srtp := "", ""
		if m.Ptime != 0 {
			ptime = fmt.Sprintf("%d ms", m.Ptime)
		}
		if m.SRTP {
			srtp = "SRTP"
		}
		l.field(b, sideName(m.Side), "+"+seconds(m.From-c.Start), epoch(c, m.Epoch), clean(m.Kind)+" "+l.address(m.Addr), clean(m.Mode),
			clean(m.Codecs), ptime, srtp, keySuites(m.Crypto))
	}
}

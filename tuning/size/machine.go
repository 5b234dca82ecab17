package size

import (
	"fmt"
	"math"
	"time"
)

// busiest is how much of a core may be in use on average, so that peaks fit.
const busiest = 0.6

func (l *Load) sizeMemory(n *Need) {
	failed := n.Load.CallRate - n.Load.Answered
	calls, streams := l.Calls, 2*l.Calls
	if !l.File { // whose calls are over when nobody is left to wait
		calls += n.Load.Answered*linger + failed*lingerFails
		streams += 2 * n.Load.Answered * linger
	}
	add := func(name string, bytes float64) {
		if bytes > 0 {
			n.MemoryOf = append(n.MemoryOf, Part{name, bytes})
			n.Memory += bytes
		}
	}
	add("program", baseBytes)
	add("calls", calls*callBytes)
	add("streams", streams*streamBytes)
	if !l.NoStore {
		add("store", storeBytes+math.Min(storeCaches, storeShare*n.StoreBytes))
	}
	if n.Spool = l.SpoolMemory; n.Spool == 0 && n.DiskRate > 0 {
		n.Spool = l.spoolMemory(n)
	}
	if n.Spool > 0 {
		add("spool", n.Spool+spoolBytes)
	}
	if l.File {
		return
	}
	// What comes to user space: all of SIP, and of media what is recorded.
	rate := n.Load.SIP * l.MessageBytes
	var fed float64
	if l.Recording != Meter {
		fed = n.Load.RTP * l.Share * (headerBytes + l.payloadKept())
		if l.Lookback > 0 {
			fed /= l.Share // nobody knows yet of which calls
		}
	}
	n.Ring = roundUp(max(leastRing, max(rate, fed)*burst*blockRoom), 64<<20)
	add("rings", n.Ring)
	if l.Recording != Meter {
		add("feeds", n.Ring)
	}
	add("meters", meterBytes)
	add("TCP", tcpBytes)
}

// spoolMemory is half for chunks and half for the look-back, as the program divides it.
func (l *Load) spoolMemory(n *Need) float64 {
	chunk := l.Calls * leastChunk
	if l.Recording != Meter {
		// 64 KiB fill in some seconds; with many calls they are made smaller.
		chunk = l.Calls * l.Share * min(chunkBytes, max(leastChunk, 10*2/l.Packet.Seconds()*l.block()))
	}
	var look float64
	if l.Recording != Meter {
		look = n.Load.RTP * lookPacket * l.Lookback.Seconds()
		if l.Recording == Header {
			look /= 2
		}
	}
	return roundUp(max(128<<20, 2*max(chunk, look)), 64<<20)
}

func roundUp(v, to float64) float64 { return math.Ceil(v/to) * to }

func (l *Load) sizeCPU(n *Need) {
	t := &n.Load
	add := func(name string, cores float64) {
		if cores *= l.Slower; cores > 0 {
			n.CPU = append(n.CPU, Part{name, cores})
			n.Busy += cores
		}
	}
	failed := t.CallRate - t.Answered
	answeredRows, failedRows := l.rows()
	kept, recorded := t.RTP*l.Share, t.Answered*l.Share
	if l.Recording == Meter {
		kept, recorded = 0, 0
	}
	if l.File {
		add("media", t.RTP*l.readNs()/1e9)
		add("spool", kept*putByteNs*l.block()/1e9)
	} else {
		fed := kept
		if l.Lookback > 0 && l.Recording != Meter {
			fed = t.RTP
		}
		kernel := (t.RTP-fed)*meterAt(t.Streams) + t.SIP*kernelSkbNs
		program := (t.RTP - fed) * programMeterNs
		if l.Recording != Meter {
			handed := math.Max(kernelHeaderNs, meterAt(t.Streams)) // the feed meters, too
			kernel += fed * handed
			program += fed * programHeaderNs
		}
		if l.Recording == Full {
			kernel += fed * wholeKernelNs
			program += fed * (wholeReaderNs + putByteNs*l.Payload)
		}
		add("kernel", kernel/1e9)
		add("media", program/1e9)
		add("service", idleCores)
	}
	add("calls kept", recorded*keepCallNs/1e9)
	add("signalling", (t.SIP*sipNs+t.CallRate*callNs+2*t.Answered*streamNs)/1e9)
	if !l.NoSIP {
		add("SIP kept", t.SIP*keepSIPNs/1e9)
	}
	if !l.NoStore {
		add("store", (t.Answered*answeredRows+failed*failedRows)*rowNs/1e9)
	}
	if r := ratios[l.Compression]; r.ns > 0 && kept > 0 {
		add("compression", kept*l.block()*r.ns/1e9)
	}
	n.Cores = coresFor(n.Busy)
}

// coresFor leaves one core to everybody else: the disk, the system, who looks after it.
func coresFor(busy float64) float64 { return math.Max(2, 1+math.Ceil(busy/busiest)) }

// meterAt is meterNs between its points, on a logarithmic scale of streams.
func meterAt(streams float64) float64 {
	last := meterNs[0]
	for _, p := range meterNs {
		if streams <= p.streams {
			if p == last {
				return p.ns
			}
			part := math.Log(streams/last.streams) / math.Log(p.streams/last.streams)
			return last.ns + part*(p.ns-last.ns)
		}
		last = p
	}
	return last.ns
}

// readNs is what an RTP packet of a file takes.
func (l *Load) readNs() float64 {
	return rtpReadNs + cacheNs*math.Max(0, math.Log10(2*l.Calls/fewStreams))
}

// links are what cards have, bits a second.
var links = []float64{1e9, 10e9, 25e9, 40e9, 100e9}

func (l *Load) note(n *Need) {
	say := func(format string, args ...any) { n.Notes = append(n.Notes, fmt.Sprintf(format, args...)) }
	for _, bits := range links {
		if n.Load.Bits < 0.7*bits {
			if !l.File {
				say("a link of %.0f Gbit/s: %.0f %% of it", bits/1e9, 100*n.Load.Bits/bits)
			}
			break
		}
	}
	if rings := math.Ceil(n.Busy / busiest); rings > 1 && !l.File {
		say("%.0f rings on as many queues of the card: ringside tune says how", math.Min(rings, 64))
	}
	if n.DiskRate > 200e6 {
		say("%.0f MB/s are more than one disk writes for long: stripe some, or record headers, or fewer calls", n.DiskRate/1e6)
	}
	if l.Calls > 100_000 {
		say("more than 100,000 calls: set calls_max_entries, the default limit")
	}
	if n.RowsDay/day.Seconds() > 30_000 {
		say("%.0f rows/s are near what SQLite takes (45,000 to 58,000): use MariaDB", n.RowsDay/day.Seconds())
	}
	if n.StoreBytes > 200e9 {
		say("a store of %.0f GB: use MariaDB, or keep records for fewer days", n.StoreBytes/1e9)
	}
	if l.Retention > 0 && l.Recording != Meter && l.Retention < 10*time.Minute {
		say("%v are less than some calls last", l.Retention)
	}
	if l.Slower != 1 {
		say("processors take %.2f times as long as the reference's", l.Slower)
	}
}

package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// scraper turns a Snapshot into metrics.
type scraper struct{ src Source }

// all are the metrics of scrapers, in the order in which they were made.
var all []*prometheus.Desc

func desc(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc("ringside_"+name, help, labels, nil)
	all = append(all, d)
	return d
}

// Names and labels are those that dashboards and rules go by: they stay.
var (
	buildInfo  = desc("build_info", "What the program was built from; always 1.", "version", "commit", "go")
	sensorInfo = desc("sensor_info", "The sensor's number, as in the records, and what people call it; always 1.", "sensor", "name")
	clock      = desc("time_seconds", "The appliance's clock, seconds since the epoch.")
	ready      = desc("ready", "1 if packets are captured and records kept.")

	interfaceUp      = desc("interface_up", "1 if the interface delivers, or could.", "iface")
	interfaceSpeed   = desc("interface_speed_bytes", "Speed of the link, bytes a second.", "iface")
	interfacePackets = desc("interface_packets_total", "Packets that the card has received, and sent where that is captured.", "iface")
	interfaceBytes   = desc("interface_bytes_total", "Bytes of these packets.", "iface")
	interfaceDrops   = desc("interface_drops_total", "Packets lost by the card, its driver and the kernel, before the rings.", "iface")
	xdpPackets       = desc("xdp_packets_total", "Packets by what the filter in the kernel did with them.", "iface", "verdict")
	ringPackets      = desc("ring_packets_total", "Packets that came out of the ring.", "iface", "ring")
	ringDrops        = desc("ring_drops_total", "Packets lost as the ring was full.", "iface", "ring")
	ringFreezes      = desc("ring_freezes_total", "Times that the ring was full.", "iface", "ring")
	ringFill         = desc("ring_fill_ratio", "Share of the ring that waits to be read.", "iface", "ring")
	ringAge          = desc("ring_block_age_seconds", "How old the last block was when its worker got it, sampled each second; missing where nothing comes.", "iface", "ring")
	workerBusy       = desc("worker_busy_ratio", "Share of one CPU that the thread of the ring uses.", "ring")

	lostPackets  = desc("lost_packets_total", "Packets lost on their way, by stage of the ledger.", "stage")
	ledgerGaps   = desc("ledger_gaps", "Sums of the ledger that do not hold: packets are missing, and nobody counts them as lost.")
	decodeErrors = desc("decode_errors_total", "Frames that yielded no packet, by reason.", "reason")

	callsActive   = desc("calls_active", "Calls that go on.", "sensor")
	registrations = desc("registrations_active", "Bindings of registrations that stand.")
	sipMessages   = desc("sip_messages_total", "SIP messages read, by transport.", "transport")
	sipRequests   = desc("sip_requests_total", "SIP requests read, by method.", "method")
	sipResponses  = desc("sip_responses_total", "SIP responses read, by class.", "class")
	sipErrors     = desc("sip_parse_errors_total", "SIP messages that were not understood, by reason.", "reason")
	rtpStreams    = desc("rtp_streams_active", "RTP streams that go on.")
	rtpPackets    = desc("rtp_packets_total", "RTP packets, those that the kernel has metered among them.")
	rtpOrphans    = desc("rtp_orphan_packets_total", "RTP packets of streams that no call claimed.")

	writerQueue   = desc("writer_queue_bytes", "Bytes that wait for the disk (spool) or the database (store).", "queue")
	writerLimit   = desc("writer_queue_limit_bytes", "Bytes that may wait.", "queue")
	writerDrops   = desc("writer_drops_total", "What was not written: packets of the spool, records of the store.", "reason")
	compressRatio = desc("compress_ratio", "Bytes of packets for each byte on disk, since the start.", "class")
	spoolBytes    = desc("spool_bytes", "Bytes of closed segments.")
	spoolFree     = desc("spool_free_bytes", "Free bytes of the spool's volume.")
	spoolOldest   = desc("spool_oldest_timestamp_seconds", "Minute of the oldest segment, seconds since the epoch; 0: there is none.")
	spoolReach    = desc("spool_reach_seconds", "How far back the spool will go at the rate of its last day.", "class")
	spoolPolicy   = desc("spool_policy_seconds", "How far back the spool is to go (maxpooldays and its like); 0: not said.", "class")
	spoolUp       = desc("spool_up", "1 if the spool takes every packet.")

	recordsPending = desc("cdr_pending", "Records that are not in the database yet.")
	recordErrors   = desc("cdr_insert_errors_total", "Records lost as the database did not take them.")
	recordsParked  = desc("cdr_parked", "Records that the database rejected, kept on disk with the reason.")
	storeUp        = desc("store_up", "1 if the database takes records.")
)

// Describe implements prometheus.Collector.
func (s *scraper) Describe(to chan<- *prometheus.Desc) {
	for _, d := range all {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (s *scraper) Collect(to chan<- prometheus.Metric) {
	snap := s.src.Snapshot()
	o := out(to)
	o.gauge(buildInfo, 1, snap.Build.Version, snap.Build.Commit, snap.Build.Go)
	o.gauge(sensorInfo, 1, strconv.Itoa(int(snap.Sensor)), snap.Name)
	o.gauge(clock, float64(snap.Now.UnixNano())/1e9)
	o.gauge(ready, one(snap.Ready))
	for n, busy := range snap.Workers {
		o.gauge(workerBusy, busy, strconv.Itoa(n))
	}
	if len(snap.Interfaces) > 0 {
		o.gauge(ledgerGaps, float64(snap.Gaps))
	}
	for i := range snap.Interfaces {
		o.iface(&snap.Interfaces[i])
	}
	o.counts(lostPackets, snap.Lost)
	o.counts(decodeErrors, snap.Decode)
	if snap.Flow != nil {
		o.flow(snap.Flow, snap.Sensor)
	}
	if snap.Spool != nil {
		o.spool(snap.Spool)
	}
	if snap.Store != nil {
		o.store(snap.Store)
	}
}

// out is where metrics go.
type out chan<- prometheus.Metric

func (o out) gauge(d *prometheus.Desc, v float64, labels ...string) {
	o <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (o out) counter(d *prometheus.Desc, n uint64, labels ...string) {
	o <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

// counts adds up those of one name: a page with a line twice is no page.
func (o out) counts(d *prometheus.Desc, of []Count, labels ...string) {
	sum := make(map[string]uint64, len(of))
	for _, c := range of {
		sum[c.Name] += c.N
	}
	for name, n := range sum {
		o.counter(d, n, append(labels[:len(labels):len(labels)], name)...)
	}
}

func (o out) iface(i *Interface) {
	o.gauge(interfaceUp, one(i.Up), i.Name)
	if i.Speed > 0 {
		o.gauge(interfaceSpeed, i.Speed, i.Name)
	}
	if i.Packets > 0 || i.Bytes > 0 {
		o.counter(interfacePackets, i.Packets, i.Name)
		o.counter(interfaceBytes, i.Bytes, i.Name)
	}
	o.counter(interfaceDrops, i.Dropped, i.Name)
	o.counts(xdpPackets, i.Verdicts, i.Name)
	for n := range i.Rings {
		r, ring := &i.Rings[n], strconv.Itoa(n)
		o.counter(ringPackets, r.Packets, i.Name, ring)
		o.counter(ringDrops, r.Drops, i.Name, ring)
		o.counter(ringFreezes, r.Freezes, i.Name, ring)
		o.gauge(ringFill, r.Fill, i.Name, ring)
		if r.Age >= 0 {
			o.gauge(ringAge, r.Age.Seconds(), i.Name, ring)
		}
	}
}

func (o out) flow(f *Flow, sensor uint16) {
	o.gauge(callsActive, float64(f.Calls), strconv.Itoa(int(sensor)))
	o.gauge(registrations, float64(f.Registrations))
	o.counts(sipMessages, f.Messages)
	o.counts(sipRequests, f.Requests)
	o.counts(sipErrors, f.ParseErrors)
	for class, n := range f.Responses {
		name := "other"
		if class > 0 {
			name = strconv.Itoa(class) + "xx"
		}
		o.counter(sipResponses, n, name)
	}
	o.gauge(rtpStreams, float64(f.Streams))
	o.counter(rtpPackets, f.RTP)
	o.counter(rtpOrphans, f.Orphan)
}

func (o out) spool(s *Spool) {
	o.gauge(writerQueue, float64(s.Used), "spool")
	o.gauge(writerLimit, float64(s.Memory), "spool")
	o.counter(writerDrops, s.Refused, "spool memory")
	o.counter(writerDrops, s.Failed, "spool disk")
	o.counter(writerDrops, s.Discarded, "spool rule")
	for _, p := range s.Packed {
		if p.Packed > 0 {
			o.gauge(compressRatio, float64(p.Plain)/float64(p.Packed), p.Class)
		}
	}
	o.gauge(spoolUp, one(!s.Stopped))
	o.gauge(spoolBytes, float64(s.Bytes))
	o.gauge(spoolFree, float64(s.Free))
	oldest := 0.0
	if !s.Oldest.IsZero() {
		oldest = float64(s.Oldest.Unix())
	}
	o.gauge(spoolOldest, oldest)
	for _, r := range s.Reach {
		o.gauge(spoolPolicy, r.Policy.Seconds(), r.Class)
		if r.Lasts > 0 {
			o.gauge(spoolReach, r.Lasts.Seconds(), r.Class)
		}
	}
}

func (o out) store(s *Store) {
	o.gauge(writerQueue, float64(s.QueuedBytes), "store")
	o.counter(writerDrops, s.Lost, "store")
	o.gauge(recordsPending, float64(s.Pending))
	o.counter(recordErrors, s.Errors)
	o.gauge(recordsParked, float64(s.Parked))
	o.gauge(storeUp, one(!s.Away))
}

func one(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}

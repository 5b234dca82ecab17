package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// The manager port answers programs that were made for VoIPmonitor: a command on a
// line, an answer, the end of the connection. It only reads. Whoever reaches it may
// ask, so it belongs on the loopback.

// Limits of the manager port.
const (
	managerClients = 16
	managerLine    = 4 << 10
	managerWait    = 5 * time.Second // for the line, and for the answer to be taken
)

// manager serves a manager port.
type manager struct {
	listener net.Listener
	service  *Service
	clients  chan struct{}
	open     sync.WaitGroup
}

func newManager(l net.Listener, s *Service) *manager {
	return &manager{listener: l, service: s, clients: make(chan struct{}, managerClients)}
}

// serve answers until the listener is closed. Who comes when there are too many is
// sent away.
func (m *manager) serve(ctx context.Context) error {
	for {
		c, err := m.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
				return nil
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors, say
			continue
		}
		select {
		case m.clients <- struct{}{}:
			m.open.Go(func() {
				defer func() { <-m.clients }()
				m.talk(ctx, c)
			})
		default:
			c.Close()
		}
	}
}

func (m *manager) close() {
	_ = m.listener.Close()
	m.open.Wait()
}

// talk answers one client.
func (m *manager) talk(ctx context.Context, c net.Conn) {
	defer c.Close()
	undo := context.AfterFunc(ctx, func() { c.Close() })
	defer undo()
	_ = c.SetDeadline(time.Now().Add(managerWait))
	line, err := bufio.NewReader(io.LimitReader(c, managerLine)).ReadString('\n')
	if err != nil && (!errors.Is(err, io.EOF) || line == "") {
		return
	}
	// Who does not read the answer has gone.
	_, _ = io.WriteString(c, m.answer(strings.TrimSpace(line))+"\n")
}

// commands of the manager port, with what help says of them.
var managerCommands = map[string]struct {
	help string
	do   func(s *Service, args string) string
}{
	"sniffer_stat":         {"state and load as JSON; \"sniffer_stat plain\": a line for each figure", snifferStat},
	"sniffer_threads":      {"load of each worker thread, per cent of a CPU", snifferThreads},
	"memory_stat":          {"memory by part", memoryStat},
	"pcapstat":             {"packets received and lost", pcapStat},
	"totalcalls":           {"number of calls that go on", func(s *Service, _ string) string { return fmt.Sprint(s.Status().Capture.Active) }},
	"listcalls":            {"calls that go on, as rows of JSON; the first row names the columns", listCalls},
	"totalregisters":       {"number of registrations that are known", totalRegisters},
	"crules_print":         {"the capture rules", func(s *Service, _ string) string { text, _, _ := s.Rules(); return strings.TrimSpace(text) }},
	"getversion":           {"the version", func(s *Service, _ string) string { return s.o.Version }},
	"getverbuild":          {"the version", func(s *Service, _ string) string { return s.o.Version }},
	"printspool":           {"the directories of the spool", printSpool},
	"get_json_config":      {"the configuration as JSON, without secrets", jsonConfig},
	"sql_time_information": {"the time zone of the records", func(*Service, string) string { return "UTC" }},
}

func (m *manager) answer(line string) string {
	name, args, _ := strings.Cut(line, " ")
	if name == "help" {
		return managerHelp(strings.TrimSpace(args))
	}
	c, ok := managerCommands[name]
	if !ok {
		return fmt.Sprintf("unknown command %.40q: this port only reads; \"help\" lists what there is", name)
	}
	return c.do(m.service, strings.TrimSpace(args))
}

func managerHelp(of string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(managerCommands)) {
		if of == "" || of == name {
			out = append(out, name+" ... "+managerCommands[name].help+".")
		}
	}
	if len(out) == 0 {
		return fmt.Sprintf("unknown command %.40q", of)
	}
	return strings.Join(out, "\n")
}

// figures are those of sniffer_stat, by the names that its readers know.
func figures(s *Service) (names []string, values map[string]any) {
	st := s.Status()
	lost := uint64(0)
	for i := range st.Capture.Lost {
		lost += st.Capture.Lost[i].Packets
	}
	cpu := 0.0
	for _, c := range st.Capture.CPU {
		cpu += 100 * c
	}
	values = map[string]any{
		"status": st.Health.State, "version": st.Version, "calls": st.Capture.Active,
		"pps": int64(st.Capture.SIP + st.Capture.RTP), "sip_per_s": int64(st.Capture.SIP), "rtp_per_s": int64(st.Capture.RTP),
		"mbps": st.Capture.Bits / 1e6, "calls_per_s": st.Capture.Calls,
		"pbCountPacketDrop": lost, "pbStatString": st.line(), "cpu": cpu,
		"memory_rss": st.Capture.Memory, "heap": st.Heap, "uptime": int64(time.Since(st.Started).Seconds()),
		"sql_queue": st.Store.Queued, "sql_away": st.Store.Away,
	}
	return slices.Sorted(maps.Keys(values)), values
}

func snifferStat(s *Service, args string) string {
	names, values := figures(s)
	if args != "plain" {
		return asJSON(values)
	}
	var out []string
	for _, n := range names {
		out = append(out, fmt.Sprintf("%s=%v", n, values[n]))
	}
	return strings.Join(out, "\n")
}

func snifferThreads(s *Service, _ string) string {
	var out []string
	for i, c := range s.Status().Capture.CPU {
		out = append(out, fmt.Sprintf("worker %d: %.1f", i, 100*c))
	}
	return strings.Join(out, "\n")
}

func memoryStat(s *Service, _ string) string {
	st := s.Status()
	out := []string{"resident: " + Bytes(st.Capture.Memory).String(), "heap: " + Bytes(st.Heap).String()}
	if st.Budget != nil {
		for _, p := range st.Budget.Parts {
			out = append(out, p.Name+": at most "+Bytes(p.Bytes).String())
		}
	}
	return strings.Join(out, "\n")
}

func pcapStat(s *Service, _ string) string {
	rows, _ := s.Ledger()
	received, dropped := uint64(0), uint64(0)
	for i := range rows {
		switch r := &rows[i]; {
		case r.Stage == StageNIC && r.Reason == "received":
			received += r.Packets
		case r.Lost:
			dropped += r.Packets
		}
	}
	return fmt.Sprintf("ps_recv: %d, ps_drop: %d", received, dropped)
}

// listColumns are those of listcalls that there is something to say in.
var listColumns = []string{
	"callreference", "callid", "calldate", "calldate_num", "duration", "connect_duration", "caller", "called", "callername",
	"callerdomain", "calleddomain", "calleragent", "calledagent", "callerip", "calledip", "lastSIPresponseNum",
	"callercodec", "src_mosf1_avg", "src_jitter", "src_loss", "id_sensor", "vlan",
}

func listCalls(s *Service, _ string) string {
	live := s.calls.get(s)
	rows := [][]any{make([]any, len(listColumns))}
	for i, name := range listColumns {
		rows[0][i] = name
	}
	now := live.at.UnixNano()
	for i := range live.calls {
		c := &live.calls[i].Record
		connected := 0.0
		if c.Answer > 0 {
			connected = time.Duration(now - c.Answer).Seconds()
		}
		w := worst(c)
		rows = append(rows, []any{
			fmt.Sprintf("%x", c.ID), c.CallID, time.Unix(0, c.Start).UTC().Format(time.DateTime), c.Start / int64(time.Second),
			int64(time.Duration(now - c.Start).Seconds()), int64(connected), c.Caller.Number, c.Called.Number, c.Caller.Name,
			c.Caller.Domain, c.Called.Domain, c.Caller.Agent, c.Called.Agent, c.Caller.Addr.Addr().String(), c.Called.Addr.Addr().String(), c.LastStatus,
			w.codec, w.mos, w.jitter, w.loss, c.Sensor, c.VLAN,
		})
	}
	return asJSON(rows)
}

func totalRegisters(s *Service, _ string) string {
	if s.input == nil {
		return "0"
	}
	return fmt.Sprint(s.input.flows().Stats().Registers.Bound)
}

func printSpool(s *Service, _ string) string {
	var out []string
	for _, d := range s.o.Spool {
		out = append(out, d.Dir)
	}
	return strings.Join(out, "\n")
}

func jsonConfig(s *Service, _ string) string {
	out := make(map[string]string)
	for _, k := range s.Settings() {
		out[k.Key] = k.Value
	}
	return asJSON(out)
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

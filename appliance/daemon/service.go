package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"ringside/appliance/auth"
	"ringside/appliance/metrics"
	"ringside/flow"
	"ringside/flow/record"
)

// ServiceOptions say what a service is made of. What is not set is not there.
type ServiceOptions struct {
	Version string // for people
	About   BuildInfo

	// What is captured: of Live and Read at most one. Their records go to the
	// store, behind whatever they name themselves.
	Live *LiveOptions
	Read *ReadOptions

	Store StoreOptions
	Spool []SpoolDir // directories that packets are fetched from

	HTTP    HTTPOptions
	Control string // path of the control socket
	Manager string // address and port of the manager

	StateDir string        // accounts, the audit, what is known of the run before
	Memory   int64         // bytes of all of the process; 0: what there is
	Shutdown time.Duration // the longest that the end may take; 0: 30 s

	Config ConfigOptions

	Log *Log // nil: nobody reads it
}

// BuildInfo says what the program was built from.
type BuildInfo struct{ Commit, Built string }

// StoreOptions say where the records of a service are.
type StoreOptions struct {
	Path       string // as store.Options has it; empty: nowhere
	Queue      string // directory for what the store does not take
	QueueBytes int64  // of it; 0: 4 GiB
	Days       int    // full days that records are kept; 0: all
	Patient    bool   // those who write can wait
	ReadOnly   bool   // nobody writes
}

const defaultShutdown = 30 * time.Second

// input is where packets come from: a Live or a Read.
type input interface {
	Run(context.Context) error
	Describe() []string
	statusSince(*lastStatus) Status
	flows() *flow.Group
}

func (p *pipeline) flows() *flow.Group { return p.group }

// Service is ringside as a service: a capture or none, the store and the spool,
// and what people and programs ask them by: the web UI with its API, the control
// socket, the manager port, the service manager.
//
// The capture's threads know nothing of all that. They are asked through what
// they publish and through questions (flow.Group.Live), and whatever serves a
// request runs on goroutines of its own.
type Service struct {
	o       ServiceOptions
	began   time.Time
	last    string // how the run before ended, if not in order
	budget  *Budget
	store   *keeping
	live    *Live // of these at most one
	read    *Read
	input   input // that one
	early   bool  // reading was ended before its end
	notify  *notifier
	health  health
	flight  flight
	span    span
	tap     tap
	calls   liveCalls
	config  configuration
	auth    *auth.Auth       // nil: nobody can log in
	api     answers          // nil: there is no port for it
	metrics *metrics.Metrics // with api
	run     runState
	outcome tally

	rates    lastStatus // of the second
	period   lastStatus // of Lately
	current  atomic.Pointer[ServiceStatus]
	stalled  atomic.Int64 // when workers were found to stand still, ns since it began; 0: they move
	ready    atomic.Bool
	name     atomic.Pointer[string] // of the sensor
	shutdown atomic.Int64           // the longest that the end may take, ns
	over     atomic.Bool            // the capture has ended: its shards answer no more, and its spool is closed

	listeners
	wg sync.WaitGroup
}

// answers is the API.
type answers interface {
	Handler() http.Handler
	LocalHandler(user string) http.Handler
	End()
}

// tally counts records that tell something of the mirror ports, by minute.
type tally struct{ calls, oneWay atomic.Uint64 }

// OpenService builds a service. Every port is taken and the store is open before
// the first interface is touched, so that a second service fails without harm.
// Errors name the part. From then on packets wait in the rings for Run.
func OpenService(ctx context.Context, o ServiceOptions) (*Service, error) {
	s := &Service{o: o, began: time.Now(), notify: newNotifier()}
	s.health.idle = o.Live == nil && o.Read == nil
	s.flight.dir = o.StateDir
	s.nameSensor(o.Config.Config)
	s.shutdown.Store(int64(cmp.Or(o.Shutdown, defaultShutdown)))
	if err := s.open(ctx); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
		defer cancel()
		return nil, errors.Join(err, s.closeAll(ctx))
	}
	return s, nil
}

// closeWithin is how long the parts of a service that failed to open may take.
const closeWithin = 5 * time.Second

func (s *Service) open(ctx context.Context) (err error) {
	if err := s.openState(); err != nil {
		return err
	}
	if s.o.Live != nil {
		limit, from := memoryLimit()
		if s.o.Memory > 0 {
			limit, from = s.o.Memory, "as configured"
		}
		if s.budget, err = budgetOf(s.o.Live, limit, from); err != nil {
			return err
		}
		limitHeap(s.budget)
		s.o.Log.Info(s.budget.String())
	}
	s.config.open(s.o.Config)
	s.openMetrics()
	if s.store, err = openKeeping(ctx, &s.o.Store, s.timeStore); err != nil {
		return err
	}
	if s.o.HTTP.Addr != "" {
		if err := s.openAccounts(); err != nil {
			return err
		}
		if err := s.openAPI(); err != nil {
			return err
		}
	}
	if err := s.listen(ctx); err != nil {
		return err
	}
	return s.openInput()
}

// openInput opens what is captured, with the store and the taps behind it.
func (s *Service) openInput() (err error) {
	switch {
	case s.o.Live != nil:
		s.tee(&s.o.Live.ReadOptions)
		if s.live, err = NewLive(*s.o.Live); err == nil {
			s.live.watchDecoders()
			s.input = s.live
		}
	case s.o.Read != nil:
		s.tee(s.o.Read)
		if s.read, err = NewRead(*s.o.Read); err == nil {
			s.input = s.read
		}
	}
	return err
}

// tee lets the store and the taps have what comes out of a capture.
func (s *Service) tee(o *ReadOptions) {
	o.Call = then(o.Call, func(c *record.Call) {
		s.outcome.calls.Add(1)
		s.measure(c)
		if c.Flags&record.OneDirection != 0 {
			s.outcome.oneWay.Add(1)
		}
		s.store.take(c)
	})
	o.Orphan = then(o.Orphan, func(r *record.Stream) { s.store.take(r) })
	o.Registration = then(o.Registration, func(r *record.Registration) { s.store.take(r) })
	o.Exchange = then(o.Exchange, func(r *record.Exchange) { s.store.take(r) })
	o.Event = then(o.Event, func(r *record.Event) { s.store.take(r) })
	o.Link = then(o.Link, func(r *record.Link) { s.store.take(r) })
	o.Quality = then(o.Quality, func(r *record.QualityReport) { s.store.take(r) })
	if o.Spool != nil {
		o.Spool.timed = s.timeDisk
	}
	s.tap.sensor = o.Sensor
	if o.Message == nil {
		o.Message = s.tap.message
	}
}

// then calls two functions, the first of which may be missing.
func then[T any](first, second func(*T)) func(*T) {
	if first == nil {
		return second
	}
	return func(v *T) { first(v); second(v) }
}

// Run serves and captures until ctx ends, or until what is read ends and nobody
// listens. Then it works off what is there, within the time that it has.
func (s *Service) Run(ctx context.Context) error {
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	s.sayHowToBegin()
	s.serve(beside)
	if s.store != nil && s.store.writer != nil {
		s.wg.Go(func() { s.store.maintain(beside, s.config.days(s.o.Store.Days), s.o.Log) })
	}
	s.wg.Go(func() { s.watch(beside) })
	err := s.capture(ctx)
	s.notify.stopping(s.within())
	stop()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.within())
	defer cancel()
	err = errors.Join(err, s.closeAll(end))
	last := s.Status()
	last.Store = s.store.look(time.Now())
	s.current.Store(&last)
	if err == nil {
		s.run.Clean = true
	}
	return errors.Join(err, s.saveState())
}

// capture runs what is captured until ctx ends. A capture that is not done in the
// time for the end is left alone, and said to be so.
func (s *Service) capture(ctx context.Context) error {
	if s.input == nil {
		<-ctx.Done()
		return nil
	}
	done := make(chan error, 1)
	go func() {
		err := s.input.Run(ctx)
		s.over.Store(true)
		done <- err
	}()
	select {
	case err := <-done:
		if s.read != nil && ctx.Err() == nil && err == nil && s.serves() {
			s.o.Log.Info("everything is read; what was found stays here until the service is ended")
			s.health.setIdle()
			<-ctx.Done()
		}
		return err
	case <-ctx.Done():
	}
	s.notify.stopping(s.within())
	select {
	case err := <-done:
		if s.read != nil && errors.Is(err, context.Canceled) { // nobody need hear that it was ended
			s.early, err = true, nil
		}
		return err
	case <-time.After(s.within()):
		return fmt.Errorf("end the capture: not done after %v: what was still open is lost", s.within())
	}
}

// closeAll closes what is open, in the reverse order.
func (s *Service) closeAll(ctx context.Context) error {
	err := s.listeners.close(ctx)
	s.wg.Wait()
	if s.auth != nil {
		err = errors.Join(err, s.auth.Close())
	}
	return errors.Join(err, s.store.close(ctx))
}

// within is the longest that the end may take.
func (s *Service) within() time.Duration { return time.Duration(s.shutdown.Load()) }

// openState reads what the run before has left, and begins anew.
func (s *Service) openState() error {
	if s.o.StateDir != "" {
		if err := os.MkdirAll(s.o.StateDir, 0o750); err != nil {
			return fmt.Errorf("keep state: %w", err)
		}
	}
	kills := oomKills(cgroupDir())
	if s.last = previousRun(s.o.StateDir, bootID(), kills); s.last != "" {
		s.o.Log.Warn(s.last)
	}
	s.run = runState{
		Version: s.o.Version, PID: pid(), Boot: bootID(), Started: s.began.UTC(), Updated: s.began.UTC(),
		Kills: kills, State: "starting", Status: "starting",
	}
	return s.saveState()
}

func (s *Service) saveState() error { return s.run.save(s.o.StateDir) }

// Describe says in lines for people what the service consists of.
func (s *Service) Describe() []string {
	var out []string
	if s.input != nil {
		out = s.input.Describe()
	} else {
		out = append(out, "nothing is captured: no interface is set")
	}
	return append(out, s.listeners.describe()...)
}

// Report is that of the capture, after Run; nothing where nothing was captured.
func (s *Service) Report() LiveReport {
	switch {
	case s.live != nil:
		return s.live.Report()
	case s.read != nil:
		return LiveReport{Report: s.read.Report(), Behind: !s.early, Early: s.early}
	}
	return LiveReport{Behind: true, Report: Report{Balanced: true}}
}

// Ledger is that of the capture from interfaces.
func (s *Service) Ledger() ([]LiveRow, []Gap) {
	if s.live == nil {
		return nil, nil
	}
	return s.live.Ledger()
}

// Status is that of the last second.
func (s *Service) Status() ServiceStatus {
	if st := s.current.Load(); st != nil {
		return *st
	}
	id, name := s.sensor()
	return ServiceStatus{Version: s.o.Version, Sensor: id, Name: name, Health: s.health.now(), Started: s.began}
}

// Lately is Status with rates since Lately was called last.
func (s *Service) Lately() ServiceStatus {
	st := s.Status()
	if s.input != nil {
		st.Capture = s.input.statusSince(&s.period)
	}
	return st
}

var _ http.Handler = (*Service)(nil) // the control socket's

package cli

import (
	"net/netip"
	"time"

	"github.com/spf13/pflag"

	"ringside/appliance/config"
	"ringside/appliance/daemon"
)

// serviceFlags say how a service is reached, and what it keeps of itself.
type serviceFlags struct {
	config    string // file
	http      string // address and port
	cert, key string
	state     string // directory
	control   string // socket
	manager   string // address and port
	shutdown  time.Duration

	// What only the configuration says.
	insecure                bool
	proxies                 []netip.Prefix
	sessionIdle, sessionMax time.Duration
	memory, queueBytes      int64
	days                    int
	logFile                 string

	loaded *config.Config    // nil: there is none
	flags  map[string]string // keys that flags have set
	notes  []string          // what is to be said of the configuration
}

// moreLimits are limits of tables that there are no flags for; 0: the default.
type moreLimits struct{ messages, streams, bindings, exchanges, peers int }

// apply puts them into options.
func (m *moreLimits) apply(o *daemon.ReadOptions) {
	o.Limits.MaxMessages, o.MaxStreams = m.messages, m.streams
	o.Register.MaxBindings, o.Register.MaxExchanges, o.Register.MaxPeers = m.bindings, m.exchanges, m.peers
}

func addServiceFlags(fl *pflag.FlagSet, f *serviceFlags) {
	fl.StringVar(&f.http, "http", "", "serve the web UI and the API at `ADDRESS:PORT`; 127.0.0.1:8080 is for this machine alone, others need TLS")
	fl.StringVar(&f.cert, "tls-cert", "", "with --http: `FILE` with the certificate, PEM")
	fl.StringVar(&f.key, "tls-key", "", "with --http: `FILE` with its private key, PEM")
	fl.StringVar(&f.state, "state", "", "`DIR` for accounts, the audit, and what is known of the run before; --http needs it")
	fl.StringVar(&f.control, "control", "", "`SOCKET` that \"ringside status\" and \"ringside reload\" ask")
}

func addRunServiceFlags(fl *pflag.FlagSet, f *serviceFlags) {
	fl.StringVar(&f.config, "config", "", "read the configuration `FILE`; flags go before it")
	addServiceFlags(fl, f)
	fl.StringVar(&f.manager, "manager", "", "answer programs made for VoIPmonitor's manager port at `ADDRESS:PORT`, as 127.0.0.1:5029; it only reads")
	spanFlag(fl, "shutdown-timeout", "the longest `SPAN` that the end may take", defaultShutdown, &f.shutdown)
}

const defaultShutdown = 30 * time.Second

func (f *serviceFlags) check() error {
	switch {
	case f.http != "" && f.state == "":
		return usage("--http: people log in, and their accounts are kept in a directory: add --state DIR")
	case f.http == "" && (f.cert != "" || f.key != ""):
		return usage("--tls-cert and --tls-key are about the web UI: add --http ADDRESS:PORT, or leave them out")
	}
	return nil
}

// options are what the daemon needs for it.
func (f *serviceFlags) options(log *daemon.Log) daemon.ServiceOptions {
	o := daemon.ServiceOptions{
		Version: version().Version,
		HTTP: daemon.HTTPOptions{
			Addr: f.http, Cert: f.cert, Key: f.key, Insecure: f.insecure,
			Proxies: f.proxies, SessionIdle: f.sessionIdle, SessionMax: f.sessionMax,
		},
		Control: f.control, Manager: f.manager, StateDir: f.state, Memory: f.memory, Shutdown: f.shutdown,
		Log: log,
	}
	if f.loaded != nil {
		path := f.config
		o.Config = daemon.ConfigOptions{
			Config: f.loaded, Flags: f.flags,
			Load: func() (*config.Config, config.Report, error) { return loadConfig(path) },
		}
	}
	return o
}

// storeOptions say where the records of a service are.
func (f *readFlags) storeOptions() daemon.StoreOptions {
	return daemon.StoreOptions{Path: f.db, Queue: f.queue, QueueBytes: f.service.queueBytes, Days: f.service.days, Patient: f.patient()}
}

// spoolDirs are the directories that packets are fetched from.
func (f *spoolFlags) dirs() []daemon.SpoolDir {
	if f.dir == "" {
		return nil
	}
	out := []daemon.SpoolDir{{Dir: f.dir, Limits: f.quota.limits()}}
	if f.cold != "" {
		out = append(out, daemon.SpoolDir{Dir: f.cold, Limits: f.coldQuota.limits()})
	}
	return out
}

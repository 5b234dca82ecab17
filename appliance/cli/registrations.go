package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ringside/flow/record"
	"ringside/writer/store"
)

func newRegistrations(st *style) *cobra.Command {
	var f store.RegistrationFilter
	return newListing(st, listing[record.Registration]{
		use: "registrations", noun: "registration", short: "list registrations of a store",
		long: `List the registrations of a store that meet every filter, newest first. A
registration is the life of one binding: from the REGISTER that made it until
it was removed or ran out. Who only ever failed to register has one as well,
in the state "rejected".

` + filterHelp,
		example: "  ringside registrations --db calls.db --state rejected --from -24h\n" +
			"  ringside registrations --db calls.db --aor '*@example.com' --at '2026-01-31 12:00'\n" +
			"  ringside registrations --db calls.db --addr 203.0.113.0/24 --failed --json",
		flags: func(fl *pflag.FlagSet) { registrationFlags(fl, &f) },
		page: func(ctx context.Context, s *store.Store, p store.Page) ([]record.Registration, string, error) {
			l, err := s.Registrations(ctx, f, p)
			return l.Records, l.Next, err
		},
		count:   func(ctx context.Context, s *store.Store) (int64, error) { return s.CountRegistrations(ctx, f) },
		time:    func(r *record.Registration) int64 { return r.Start },
		columns: registrationColumns, csv: registrationCSV,
	})
}

func registrationFlags(fl *pflag.FlagSet, f *store.RegistrationFilter) {
	between(fl, "registrations that began", &f.From, &f.To)
	momentFlag(fl, "at", "registrations that stood at this `TIME`", &f.At)
	parsed(fl, "aor", "address of record, `USER@DOMAIN`", &f.AOR, store.ParseMatch)
	parsed(fl, "user", "`USER` part of the address of record", &f.User, store.ParseMatch)
	fl.StringVar(&f.Domain, "domain", "", "`DOMAIN` of the address of record")
	fl.StringVar(&f.Contact, "contact", "", "`TEXT` in the contact")
	fl.StringVar(&f.Agent, "agent", "", "`TEXT` in the user agent")
	fl.StringVar(&f.CallID, "call-id", "", "Call-`ID` of the last REGISTER")
	parsed(fl, "addr", "`ADDRESS` of the user agent or the registrar, or a prefix (10.0.0.0/8)", &f.Addr, store.ParseAddr)
	list(fl, "state", "`STATES`: registered, unregistered, expired, rejected, evicted", &f.States, named[record.RegistrationState])
	statusFlag(fl, "last final `STATUS`: 403, 4xx, 400-499", &f.StatusMin, &f.StatusMax)
	fl.BoolVar(&f.Failed, "failed", false, "with a REGISTER that was refused or not answered")
	list(fl, "sensor", "sensor `IDS`", &f.Sensors, parseSensor)
}

// failed is how many REGISTER requests were refused or not answered.
func failed(r *record.Registration) uint32 { return r.Failures + r.Timeouts }

var registrationColumns = []shown[record.Registration]{
	{column{head: "AOR", least: 24}, func(_ look, r *record.Registration) string { return r.AOR }},
	{column{head: "Contact", least: 12, drop: 4}, func(_ look, r *record.Registration) string { return r.Contact }},
	{column{head: "Agent", least: 8, drop: 5}, func(_ look, r *record.Registration) string { return r.Agent }},
	{column{head: "State"}, func(_ look, r *record.Registration) string { return r.State.String() }},
	{column{head: "Expires", right: true, drop: 2}, func(_ look, r *record.Registration) string {
		return only(r.Expires != 0, fmt.Sprintf("%d s", r.Expires))
	}},
	{column{head: "Registrar", drop: 3}, func(l look, r *record.Registration) string { return l.address(r.Dst) }},
	{column{head: "RTT", right: true, drop: 1}, func(_ look, r *record.Registration) string { return roundTrip(r.RTT) }},
	{column{head: "Code", right: true}, func(_ look, r *record.Registration) string { return status(r.LastStatus) }},
	{column{head: "Failed", right: true}, func(_ look, r *record.Registration) string {
		return only(failed(r) > 0, fmt.Sprintf("%d of %d", failed(r), r.Registers))
	}},
}

// roundTrip is a mean round trip, nothing where none was measured.
func roundTrip(v float64) string { return only(v > 0, ms(v)) }

// registrationCSV are the columns of a CSV export, as csvColumns are of calls.
var registrationCSV = []csvColumn[record.Registration]{
	{"id", func(r *record.Registration) string { return strconv.FormatInt(r.ID, 10) }},
	{"sensor", func(r *record.Registration) string { return fmt.Sprint(r.Sensor) }},
	{"aor", func(r *record.Registration) string { return r.AOR }},
	{"contact", func(r *record.Registration) string { return r.Contact }},
	{"instance", func(r *record.Registration) string { return r.Instance }},
	{"path", func(r *record.Registration) string { return r.Path }},
	{"call_id", func(r *record.Registration) string { return r.CallID }},
	{"agent", func(r *record.Registration) string { return r.Agent }},
	{"auth_user", func(r *record.Registration) string { return r.AuthUser }},
	{"src", func(r *record.Registration) string { return endpoint(r.Src) }},
	{"registrar", func(r *record.Registration) string { return endpoint(r.Dst) }},
	{"transport", func(r *record.Registration) string { return r.Transport.String() }},
	{"nat", func(r *record.Registration) string { return strconv.FormatBool(r.NATed) }},
	{"start", func(r *record.Registration) string { return stamp(r.Start) }},
	{"last", func(r *record.Registration) string { return stamp(r.Last) }},
	{"end", func(r *record.Registration) string { return stamp(r.End) }},
	{"expires_at", func(r *record.Registration) string { return stamp(r.ExpiresAt) }},
	{"expires_s", func(r *record.Registration) string { return fmt.Sprint(r.Expires) }},
	{"state", func(r *record.Registration) string { return r.State.String() }},
	{"registers", func(r *record.Registration) string { return fmt.Sprint(r.Registers) }},
	{"successes", func(r *record.Registration) string { return fmt.Sprint(r.Successes) }},
	{"challenges", func(r *record.Registration) string { return fmt.Sprint(r.Challenges) }},
	{"failures", func(r *record.Registration) string { return fmt.Sprint(r.Failures) }},
	{"timeouts", func(r *record.Registration) string { return fmt.Sprint(r.Timeouts) }},
	{"retransmissions", func(r *record.Registration) string { return fmt.Sprint(r.Retrans) }},
	{"status", func(r *record.Registration) string { return status(r.LastStatus) }},
	{"reason", func(r *record.Registration) string { return r.LastReason }},
	{"rtt_ms", func(r *record.Registration) string { return only(r.RTT > 0, decimal(r.RTT)) }},
	{"rtt_max_ms", func(r *record.Registration) string { return only(r.RTTMax > 0, decimal(r.RTTMax)) }},
}

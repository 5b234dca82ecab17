package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ringside/appliance/config"
	"ringside/appliance/daemon"
)

// defaultControl is the control socket of the service that a package installs.
const defaultControl = "/run/ringside/ringside.sock"

func controlFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "control", defaultControl, "`SOCKET` of the service")
}

// controlError gives an answer of the control socket its exit code.
func controlError(err error) error {
	if errors.Is(err, daemon.ErrNotRunning) {
		return coded{exitUnavailable, err}
	}
	return err
}

func newStatus(st *style) *cobra.Command {
	var socket string
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "how the service does that runs on this machine",
		Long: `Ask the service at its control socket how it does: its state and why, calls, rates,
what was lost and where, the store, and memory. It exits with 0 when the service is
healthy or idle, and with 1 when it is degraded or failing.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var s daemon.ServiceStatus
			if err := daemon.NewControl(socket).Get(c.Context(), "GET", "/status", &s); err != nil {
				return controlError(err)
			}
			out := c.OutOrStdout()
			if asJSON {
				enc := json.NewEncoder(out)
				enc.SetIndent("", "  ")
				return errors.Join(enc.Encode(s), stateError(&s))
			}
			return errors.Join(writeServiceStatus(out, st.on(out), &s, time.Now()), stateError(&s))
		},
	}
	controlFlag(c, &socket)
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

// stateError is an error for a service that does not do its job.
func stateError(s *daemon.ServiceStatus) error {
	if s.Health.State == daemon.StateDegraded || s.Health.State == daemon.StateFailing {
		return coded{exitFailure, fmt.Errorf("the service is %s", s.Health.State)}
	}
	return nil
}

func writeServiceStatus(w io.Writer, _ look, s *daemon.ServiceStatus, now time.Time) error {
	var b strings.Builder
	fmt.Fprintf(&b, "ringside %s%s, process %d, running for %s\n", clean(s.Version), onSensor(s), s.PID, since(now, s.Started))
	fmt.Fprintf(&b, "state     %s for %s\n", s.Health.State, since(now, s.Health.Since))
	for _, c := range s.Health.Why {
		fmt.Fprintf(&b, "          %s (for %s)\n", clean(c.Text), since(now, c.Since))
	}
	if s.LastRun != "" {
		fmt.Fprintf(&b, "before    %s\n", clean(s.LastRun))
	}
	for _, p := range s.Pending {
		fmt.Fprintf(&b, "restart   %s\n", clean(p))
	}
	if !s.Ready {
		b.WriteString("          not ready yet\n")
	}
	of := *s
	of.Health.Why = nil // they are above
	fmt.Fprintf(&b, "load      %s\n", clean(statusLine(of)))
	if db := &s.Store; db.Waiting >= 0 {
		fmt.Fprintf(&b, "store     %s records stored", count(db.Stored))
		if db.Queued > 0 {
			fmt.Fprintf(&b, ", %s wait in the queue", count(db.Queued))
		}
		if db.Parked > 0 {
			fmt.Fprintf(&b, ", %s parked", count(db.Parked))
		}
		if db.Away {
			fmt.Fprintf(&b, ": away: %s", clean(db.Error))
		}
		b.WriteByte('\n')
	}
	if m := s.Budget; m != nil {
		fmt.Fprintf(&b, "%s\n", clean(m.String()))
	}
	if s.URL != "" {
		fmt.Fprintf(&b, "web UI    %s\n", clean(s.URL))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// onSensor says which sensor it is, if that is known.
func onSensor(s *daemon.ServiceStatus) string {
	if s.Name == "" {
		return ""
	}
	return fmt.Sprintf(", sensor %d, %s", s.Sensor, clean(s.Name))
}

// since is how long ago a time is, to the second.
func since(now, then time.Time) string {
	if then.IsZero() {
		return "0s"
	}
	return now.Sub(then).Round(time.Second).String()
}

func newReload() *cobra.Command {
	var socket string
	c := &cobra.Command{
		Use:   "reload",
		Short: "let the service read its configuration again",
		Long: `Let the service that runs on this machine read its configuration again. What has
changed is shown key by key; what takes a restart is marked. A configuration that is
wrong is refused, with the reason: the old one holds, and the exit code is 78.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var changes []config.Change
			err := daemon.NewControl(socket).Get(c.Context(), "POST", "/reload", &changes)
			if refused := (*daemon.RefusedError)(nil); errors.As(err, &refused) {
				return coded{exitConfig, err}
			}
			if err != nil {
				return controlError(err)
			}
			out := c.OutOrStdout()
			if len(changes) == 0 {
				_, err := fmt.Fprintln(out, "nothing has changed")
				return err
			}
			for _, change := range changes {
				if _, err := fmt.Fprintln(out, clean(change.String())); err != nil {
					return err
				}
			}
			return nil
		},
	}
	controlFlag(c, &socket)
	return c
}

func newSupportBundle() *cobra.Command {
	var socket, path string
	c := &cobra.Command{
		Use:   "support-bundle",
		Short: "pack what support asks for, without secrets, into a zip archive",
		Long: `Let the service that runs on this machine write its state, ledger, settings without
secrets, the last fifteen minutes second by second, and profiles into a zip archive.
There are no records of calls, no packets and no log in it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return controlError(writeBundle(c.Context(), socket, path, c.OutOrStdout()))
		},
	}
	controlFlag(c, &socket)
	c.Flags().StringVarP(&path, "output", "o", "ringside-support.zip", "`FILE` to write; it must not be there")
	return c
}

func writeBundle(ctx context.Context, socket, path string, out io.Writer) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write support bundle: %w", err)
	}
	err = daemon.NewControl(socket).Do(ctx, "GET", "/bundle", func(r io.Reader) error {
		_, err := io.Copy(f, r)
		return err
	})
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	_, err = fmt.Fprintln(out, path)
	return err
}

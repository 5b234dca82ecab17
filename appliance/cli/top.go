package cli

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"ringside/appliance/daemon"
	"ringside/appliance/tui"
)

// topFlags say what "ringside top" shows.
type topFlags struct {
	control          string // socket
	url, token, auth string // of a ringside somewhere; files
}

func newTop(st *style) *cobra.Command {
	var f topFlags
	c := &cobra.Command{
		Use:   "top [FILE|STORE]",
		Short: "watch calls, their ladders and the capture in the terminal",
		Long: `Show the calls that go on, and always how the capture does: packets a second, what
was lost and where, how full rings and queues are. Enter opens a call: its ladder,
its streams, its messages as they were on the wire. "?" says which keys there are.

It asks the service on this machine at its control socket; with --url one somewhere,
by its API; and with a capture or a store as argument it shows the calls in that.`,
		Example: "  ringside top\n  ringside top --url https://voip.example.net --token-file ~/.ringside-token\n  ringside top trace.pcap\n  ringside top calls.db",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.url != "" && (len(args) > 0 || c.Flags().Changed("control")) {
				return usage("--url is another ringside: leave out the file and --control")
			}
			if f.url == "" && (f.token != "" || f.auth != "") {
				return usage("--token-file and --ca are for a ringside somewhere: name it with --url")
			}
			if !isTerminal(c.OutOrStdout()) {
				return usage("top draws on a terminal; for a program there are \"ringside status --json\" and the API")
			}
			return top(c.Context(), &f, args, st, c.InOrStdin(), c.OutOrStdout())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	controlFlag(c, &f.control)
	fl.StringVar(&f.url, "url", "", "`URL` of the web UI of a ringside somewhere")
	fl.StringVar(&f.token, "token-file", "", "with --url: `FILE` with an API token, made by \"ringside user token\" or in the web UI")
	fl.StringVar(&f.auth, "ca", "", "with --url: `FILE` with the certificate, PEM, that vouches for it (default: those of the system)")
	return c
}

func top(ctx context.Context, f *topFlags, args []string, st *style, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o := tui.Options{ASCII: st.on(out).ascii, Zone: st.zone(), Live: len(args) == 0}
	var src tui.Source
	var err error
	closing := func() error { return nil }
	switch {
	case len(args) > 0:
		o.Name = args[0]
		src, closing, err = openOffline(ctx, args[0])
	case f.url != "":
		src, err = f.remote(ctx)
	default:
		var s daemon.ServiceStatus // is there one at all?
		if err := daemon.NewControl(f.control).Get(ctx, "GET", "/status", &s); err != nil {
			return controlError(err)
		}
		src = tui.NewSocket(ctx, f.control)
	}
	if err != nil {
		return err
	}
	return errors.Join(tui.Run(ctx, src, o, in, out), closing())
}

// remote is a ringside somewhere.
func (f *topFlags) remote(ctx context.Context) (tui.Source, error) {
	if f.token == "" {
		return nil, usage("--url: who asks must say who it is: add --token-file FILE")
	}
	token, err := os.ReadFile(f.token)
	if err != nil {
		return nil, fmt.Errorf("read the token: %w", err)
	}
	secret := strings.TrimSpace(string(token))
	if secret == "" || strings.ContainsAny(secret, " \t\r\n") {
		return nil, usage("%s: there must be one token in it, and nothing else", clean(f.token))
	}
	var authorities *x509.CertPool
	if f.auth != "" {
		pem, err := os.ReadFile(f.auth)
		if err != nil {
			return nil, fmt.Errorf("read the certificate: %w", err)
		}
		authorities = x509.NewCertPool()
		if !authorities.AppendCertsFromPEM(pem) {
			return nil, usage("%s: there is no certificate in it, in PEM", clean(f.auth))
		}
	}
	src, err := tui.NewRemote(ctx, f.url, secret, authorities)
	if err != nil {
		return nil, coded{exitUsage, err}
	}
	if _, err := src.Calls(ctx); err != nil {
		return nil, coded{exitUnavailable, err}
	}
	return src, nil
}

// openOffline shows a store, or what a capture has in it.
func openOffline(ctx context.Context, path string) (tui.Source, func() error, error) {
	if isStore(path) {
		s, err := openStore(ctx, path)
		if err != nil {
			return nil, nil, err
		}
		src, err := tui.OfStore(ctx, s)
		return src, s.Close, err
	}
	taken := tui.NewCapture()
	r, err := daemon.NewRead(daemon.ReadOptions{Paths: []string{path}, Call: taken.Call, Message: daemon.Texts(taken.Message)})
	if err != nil {
		return nil, nil, withRemedy(err)
	}
	if err := r.Run(ctx); err != nil {
		return nil, nil, err
	}
	return taken.Source(), func() error { return nil }, nil
}

// isStore reports whether a path names a store and not a capture.
func isStore(path string) bool {
	if strings.HasPrefix(path, "mysql://") {
		return true
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	const magic = "SQLite format 3\x00"
	head := make([]byte, len(magic))
	_, err = io.ReadFull(f, head)
	return err == nil && bytes.Equal(head, []byte(magic))
}

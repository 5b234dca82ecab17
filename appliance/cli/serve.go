package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"ringside/appliance/daemon"
)

func newServe() *cobra.Command {
	var f serviceFlags
	var spool spoolFlags
	var db string
	c := &cobra.Command{
		Use:   "serve --db PATH --http ADDRESS:PORT --state DIR",
		Short: "show what is in a store and a spool in the web UI, without capturing",
		Long: `Serve the web UI and the API over the records of a store and, with --spool, the
packets of calls. Nothing is captured and no record is written. The first time, it
says how the first account is made.`,
		Example: "  ringside serve --db calls.db --spool /var/spool/ringside --http 127.0.0.1:8080 --state state",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case db == "":
				return usage("name the store: --db PATH")
			case f.http == "":
				return usage("say where: --http 127.0.0.1:8080")
			}
			if err := f.check(); err != nil {
				return err
			}
			return serve(c.Context(), &f, &spool, db, c.ErrOrStderr())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVar(&db, "db", "", "the store, a `PATH` or mysql://USER@HOST/DATABASE")
	fl.StringVar(&spool.dir, "spool", "", "`DIR` of the spool")
	fl.StringVar(&spool.cold, "spool-cold", "", "its further `DIR`")
	addServiceFlags(fl, &f)
	return c
}

func serve(ctx context.Context, f *serviceFlags, spool *spoolFlags, db string, stderr io.Writer) error {
	notes := &lines{to: stderr}
	o := f.options(daemon.NewLog(notes.say))
	o.Store, o.Spool = daemon.StoreOptions{Path: db, ReadOnly: true}, spool.dirs()
	s, err := daemon.OpenService(ctx, o)
	if err != nil {
		return serviceError(err)
	}
	for _, line := range s.Describe() {
		fmt.Fprintln(notes, clean(line))
	}
	return s.Run(ctx)
}

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"ringside/appliance/daemon"
)

const (
	defaultProbe = 1 << 30
	// probeCall is the bytes of a second of a G.711 call in the spool: 100 packets
	// of 214 bytes, each with the 36 of its block.
	probeCall = 100 * (214 + 36)
	// probeShare is how much of what the disk reached should be used.
	probeShare = 0.8
)

func newSpoolProbe() *cobra.Command {
	bytes := int64(defaultProbe)
	c := &cobra.Command{
		Use:   "probe DIR",
		Short: "measure how fast the disk takes segments",
		Long: `Write 1 GiB into DIR as segments are written, sync and remove it, and say how many
G.711 calls could be stored whole at 80 % of that rate. Do it while the disk has
its usual work to do; what is stored meanwhile gets its share.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := needSpool(args...); err != nil {
				return err
			}
			p, err := daemon.ProbeSpool(c.Context(), args[0], bytes)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s in %s: %s a second; 64 MiB took up to %s\nenough for %s G.711 calls at 80 %% of it\n",
				size(p.Bytes), seconds(int64(p.Took)), size(int64(p.Rate())), seconds(int64(p.Slowest)), count(int64(probeShare*p.Rate()/probeCall)))
			return err
		},
	}
	parsed(c.Flags(), "size", "how much is written, a `SIZE` (default 1 GiB)", &bytes, parseSize)
	return c
}

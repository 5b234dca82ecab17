package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"ringside/writer/store"
)

// queueFlag is said of --queue.
const queueFlag = "the queue beside the store, a `DIR`"

// newQueuedSink is a storeSink that keeps what the store does not take in a queue,
// and tells notes what it leaves there. patient is for input that can wait.
func newQueuedSink(ctx context.Context, path, queue string, patient bool, notes io.Writer) (sink, error) {
	s, err := store.Open(ctx, store.Options{Path: path, Lazy: true})
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, s); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	over, err := store.OpenOverflow(store.OverflowOptions{Dir: queue})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	w := store.NewWriter(s, store.WriterOptions{Overflow: over, Patient: patient})
	return queuedSink{storeSink{s, w}, queue, notes}, nil
}

// queuedSink is a storeSink with a queue.
type queuedSink struct {
	storeSink
	queue string
	notes io.Writer
}

func (s queuedSink) close() error {
	err := s.storeSink.close()
	return errors.Join(err, writeLeft(s.notes, s.writer.Stats(), s.queue))
}

// writeLeft says what a Writer has left on disk.
func writeLeft(out io.Writer, st store.WriterStats, queue string) error {
	var err error
	if st.Queued > 0 {
		_, err = fmt.Fprintf(out, "ringside: the store did not take %s records: they wait in %s, for \"ringside store retry\" or the next read with this --queue: %s\n",
			count(st.Queued), clean(queue), clean(st.LastError))
	}
	if st.Parked > 0 && err == nil {
		_, err = fmt.Fprintf(out, "ringside: the store rejected %s records: they are parked in %s, see \"ringside store parked\"\n",
			count(st.Parked), clean(queue))
	}
	return err
}

func newStore() *cobra.Command {
	c := &cobra.Command{
		Use:   "store",
		Short: "see and retry records that a store did not take, and remove old ones",
		Long: `With --queue DIR, "ringside read" keeps records in DIR that the store does not
take: in a queue those that came while the database was away, parked beside it
those that it rejected. Both are tried again by every read with this --queue,
and by "retry".`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usage("say what to do: status, parked, retry or clean")
		},
	}
	c.AddCommand(newStoreStatus(), newStoreParked(), newStoreRetry(), newStoreClean())
	return c
}

// openQueue opens a queue that must be there.
func openQueue(dir string) (*store.Overflow, error) {
	if dir == "" {
		return nil, usage("name the queue: --queue DIR, as it was given to \"ringside read\"")
	}
	if i, err := os.Stat(dir); err != nil || !i.IsDir() {
		if err == nil {
			err = errors.New("it is no directory")
		}
		return nil, coded{exitUnavailable, fmt.Errorf("open queue %s: %w", dir, err)}
	}
	return store.OpenOverflow(store.OverflowOptions{Dir: dir})
}

// queueStatus is the JSON of ringside store status.
type queueStatus struct {
	Queued      int    `json:"queued"`
	QueuedBytes int64  `json:"queued_bytes"`
	Oldest      string `json:"oldest,omitempty"` // RFC 3339
	Parked      int    `json:"parked"`
	ParkedBytes int64  `json:"parked_bytes"`
	Cut         int64  `json:"cut_bytes,omitempty"` // half-written by a crash
}

func newStoreStatus() *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use:   "status --queue DIR",
		Short: "how many records wait for the store",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			over, err := openQueue(dir)
			if err != nil {
				return err
			}
			st := over.Stats()
			out := c.OutOrStdout()
			if asJSON {
				s := queueStatus{st.Queued, st.QueuedBytes, "", st.Parked, st.ParkedBytes, st.CutBytes}
				if !st.Oldest.IsZero() {
					s.Oldest = st.Oldest.UTC().Format(time.RFC3339)
				}
				err = json.NewEncoder(out).Encode(s)
			} else {
				err = writeStatus(out, st, time.Now())
			}
			return errors.Join(err, over.Close())
		},
	}
	c.Flags().StringVar(&dir, "queue", "", queueFlag)
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

func writeStatus(out io.Writer, st store.OverflowStats, now time.Time) error {
	age := ""
	if !st.Oldest.IsZero() {
		age = ", the oldest for " + seconds(int64(now.Sub(st.Oldest)))
	}
	_, err := fmt.Fprintf(out, "%s records wait for the store%s (%s)\n%s records are parked (%s)\n",
		count(st.Queued), age, size(st.QueuedBytes), count(st.Parked), size(st.ParkedBytes))
	if st.CutBytes > 0 && err == nil {
		_, err = fmt.Fprintf(out, "%s that a crash had left half-written were cut off\n", size(st.CutBytes))
	}
	return err
}

func newStoreParked() *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use:   "parked --queue DIR",
		Short: "list records that the store rejected, with the reason",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			over, err := openQueue(dir)
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			enc := json.NewEncoder(out)
			err = over.EachParked(func(p store.Parked) (err error) {
				at := p.Time.UTC().Format(time.RFC3339)
				if asJSON {
					return enc.Encode(map[string]string{"time": at, "record": p.What, "reason": p.Reason})
				}
				_, err = fmt.Fprintf(out, "%s  %s: %s\n", at, clean(p.What), clean(p.Reason))
				return err
			})
			return errors.Join(err, over.Close())
		},
	}
	c.Flags().StringVar(&dir, "queue", "", queueFlag)
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON lines")
	return c
}

func newStoreRetry() *cobra.Command {
	var db, dir string
	c := &cobra.Command{
		Use:     "retry --db PATH --queue DIR",
		Short:   "store what waits in the queue, and what is parked",
		Example: "  ringside store retry --db calls.db --queue calls.queue",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if db == "" {
				return usage("name the store: --db PATH")
			}
			return retryQueue(c.Context(), db, dir, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&db, "db", "", "the store, a `PATH` (created if it is not there)")
	c.Flags().StringVar(&dir, "queue", "", queueFlag)
	return c
}

func retryQueue(ctx context.Context, db, dir string, out, notes io.Writer) error {
	over, err := openQueue(dir)
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Options{Path: db})
	if err != nil {
		return errors.Join(err, over.Close())
	}
	w := store.NewWriter(s, store.WriterOptions{Overflow: over})
	err = errors.Join(w.Close(ctx), s.Close())
	st := w.Stats()
	if _, said := fmt.Fprintf(out, "%s records stored, %s wait, %s are parked\n", count(st.Stored()), count(st.Queued), count(st.Parked)); err == nil {
		err = said
	}
	if left := st.Queued + st.Parked; left > 0 && err == nil {
		err = fmt.Errorf("retry queue %s: %s records are left: %s", dir, count(left), st.LastError)
	}
	return err
}

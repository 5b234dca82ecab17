package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrSlow is a question that took too long to answer, and was given up.
var ErrSlow = errors.New("the query takes too long: narrow its time range, or ask for a number, an address, a status or a MOS as well")

var errConcurrent = fmt.Errorf("%w: calls at the same time are known of all calls and of sensors, not of what a filter chooses", ErrQuery)

// queryTime is how long a list or a figure may take by default.
const queryTime = 15 * time.Second

// bounded is a context for a question: it ends with the time that one may take.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.options.QueryTime < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, s.options.QueryTime, ErrSlow)
}

// slow is the error of a question, ErrSlow if its time was over.
func (s *Store) slow(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), ErrSlow) {
		return fmt.Errorf("%w (%v)", ErrSlow, s.options.QueryTime)
	}
	return err
}

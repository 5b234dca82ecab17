package daemon

import (
	"ringside/dataplane/decode"
	"ringside/dataplane/filter"
	"ringside/dataplane/frame"
)

// kindFiltered is the row of the ledger for packets that the filter left out.
const kindFiltered = "left out by filter"

// filters are the filters behind the workers' decoders; none without an
// expression.
type filters []*filter.Decoder

// put puts a filter behind each decoder.
func (f *filters) put(expression string, decoders []*decode.Decoder) error {
	if expression == "" {
		return nil
	}
	chosen, err := filter.Parse(expression)
	if err != nil {
		return err
	}
	for _, d := range decoders {
		*f = append(*f, filter.NewDecoder(d, chosen))
	}
	return nil
}

// decoder is that of a worker, behind the filter if there is one.
func (p *pipeline) decoder(i int) frame.Decoder {
	if p.filters == nil {
		return p.decoders[i]
	}
	return p.filters[i]
}

// leftOut is how many packets did not match.
func (f filters) leftOut() uint64 {
	var s filter.Stats
	for _, d := range f {
		s.Add(d.Stats())
	}
	return s.Filtered
}

// CheckFilter says what is wrong with an expression, and where.
func CheckFilter(expression string) error {
	_, err := filter.Parse(expression)
	return err
}

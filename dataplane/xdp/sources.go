package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"ringside/bpf"
	"ringside/dataplane/frame"
)

// Source is an address that has sent more SIP requests than its limit.
type Source struct {
	Addr  netip.Addr
	Class string // of requests: "REGISTER", "OPTIONS" or "request"
	Over  uint64 // packets beyond the limit, those that passed as samples among them
}

var classNames = [...]string{"REGISTER", "OPTIONS", "request"}

// sourceKey is struct rs_source, as bytes; sourceBucket is struct rs_bucket_of_source.
type (
	sourceKey    [24]byte
	sourceBucket struct{ Full, Over uint64 }
)

// Sources are those that have exceeded the limits of their own, in no order: of the
// 65,536 that were seen last. Requests beyond the limit of all sources are in Stats alone.
func (f *Filter) Sources() ([]Source, error) {
	var (
		out    []Source
		cursor ebpf.MapBatchCursor
	)
	keys, values := make([]sourceKey, batchSize), make([]sourceBucket, batchSize)
	for {
		n, err := f.objects.Maps[bpf.PrefilterMapRsSources].BatchLookup(&cursor, keys, values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil, fmt.Errorf("read the sources of requests: %w", err)
		}
		for i, k := range keys[:n] {
			if values[i].Over == 0 {
				continue
			}
			class := min(binary.LittleEndian.Uint64(k[16:]), uint64(len(classNames)-1))
			out = append(out, Source{frame.AddrFrom16(k[:16]).Netip(), classNames[class], values[i].Over})
		}
		if err != nil {
			return out, nil
		}
	}
}

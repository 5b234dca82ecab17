package spool

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"ringside/writer/compress"
	"ringside/writer/pcap"
)

// slack is how much earlier than its clock the time of a packet may be for a
// query by time to find it.
const slack = 2 * time.Minute

// maxLoaded is the bytes of chunks that one query may hold at a time.
const maxLoaded = 256 << 20

// Query asks for packets.
type Query struct {
	Keys     []string
	From, To int64   // ns, both inclusive; 0 and 0: all
	Classes  []Class // nil: all
}

func (q *Query) to() int64 {
	if q.From == 0 && q.To == 0 {
		return never
	}
	return q.To
}

// wants says whether a segment may hold packets of the query.
func (q *Query) wants(n Name) bool {
	if len(q.Classes) > 0 && !slices.Contains(q.Classes, n.Class) {
		return false
	}
	return n.Minute+minute > q.From && (q.to() >= never-int64(slack) || n.Minute <= q.to()+int64(slack))
}

// Fetched is what a query cost and found.
type Fetched struct {
	Packets  uint64
	Segments int   // looked into
	Frames   int   // read
	Read     int64 // bytes of files, of indexes too
	Damaged  int   // frames and indexes that could not be read; the rest is there
}

// ref is a frame that belongs to the answer.
type ref struct {
	src  int // in sources
	key  string
	data []byte // the frame, where it is not in the file yet
	Entry
}

// source is a segment with frames that belong to the answer.
type source struct {
	f      File
	format compress.Format
}

// fetch gathers the answer to a query.
type fetch struct {
	q       Query
	keys    []string
	sources []source
	refs    []ref
	Fetched
}

func newFetch(q Query) *fetch {
	f := &fetch{q: q}
	for _, k := range q.Keys {
		f.keys = append(f.keys, keyOf(k))
	}
	slices.Sort(f.keys)
	f.keys = slices.Compact(f.keys)
	return f
}

func (f *fetch) close() {
	for _, s := range f.sources {
		_ = s.f.Close() // it was only read
	}
}

// add notes a frame if its time is asked for.
func (f *fetch) add(key string, e Entry, data []byte) {
	if e.Last >= f.q.From && e.First <= f.q.to() {
		f.refs = append(f.refs, ref{src: len(f.sources), key: key, Entry: e, data: data})
	}
}

// source keeps a file if it has frames of the answer, and closes it if not.
func (f *fetch) source(file File, format compress.Format, had int) {
	if len(f.refs) == had {
		_ = file.Close() // it was only read
		return
	}
	f.sources = append(f.sources, source{file, format})
}

// closed looks into a segment that has its index.
func (f *fetch) closed(files FS, root string, n Name) error {
	file, err := files.Open(filepath.Join(root, n.Path()), false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // retention was faster
	}
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	f.Segments++
	had := len(f.refs)
	x, err := openIndex(file, n.Format)
	if err == nil {
		for _, k := range f.keys {
			if err = x.find(k, func(e Entry) { f.add(k, e, nil) }); err != nil {
				break
			}
		}
		f.Read += x.read
	}
	if err != nil {
		f.Damaged++
	}
	f.source(file, n.Format, had)
	return nil
}

// open looks into a segment that is being written.
func (f *fetch) open(s *segment) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	file, err := s.fs.Open(s.path(), false)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	f.Segments++
	had := len(f.refs)
	for _, k := range f.keys {
		s.index.find(k, func(e Entry) {
			var data []byte
			if at := e.Offset - s.written; s.done {
				data = nil // complete: written is behind the index
			} else if at >= 0 {
				data = slices.Clone(s.buf[at : at+int64(e.Length)])
			}
			f.add(k, e, data)
		})
	}
	f.source(file, s.name.Format, had)
	return nil
}

// scan looks into a segment that a writer of another process has open, or left.
func (f *fetch) scan(files FS, root string, n Name) error {
	file, err := files.Open(filepath.Join(root, n.Path()), false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // renamed, or recovered
	}
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	f.Segments++
	had := len(f.refs)
	s, err := scanSegment(file, n.Format, nil)
	if err != nil {
		_ = file.Close() // it was only read
		return err
	}
	f.Read += s.end
	for _, k := range f.keys {
		s.index.find(k, func(e Entry) { f.add(k, e, nil) })
	}
	f.source(file, n.Format, had)
	return nil
}

// loaded is a frame whose packets are on their way out.
type loaded struct {
	order   int // among the frames, for packets of one time
	read    pcap.Reader
	chunk   []byte
	packets []pcap.Packet // left, by time
	room    []pcap.Packet // what packets is a part of
}

type queue []*loaded

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q queue) Less(i, j int) bool {
	a, b := q[i].packets[0].Time, q[j].packets[0].Time
	return a < b || a == b && q[i].order < q[j].order
}
func (q *queue) Push(x any) { *q = append(*q, x.(*loaded)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	l := (*q)[last]
	*q = (*q)[:last]
	return l
}

// merge calls emit with all packets by time. A frame is loaded when its first
// packet is due, and freed after its last, so no more are held than overlap.
func (f *fetch) merge(ctx context.Context, emit func(p *pcap.Packet, i pcap.Interface, key string) error) error {
	slices.SortStableFunc(f.refs, func(a, b ref) int { return cmp.Compare(a.First, b.First) })
	var (
		active queue
		spare  []*loaded
		held   int
		dec    compress.Decoder
		buf    []byte
	)
	for next := 0; next < len(f.refs) || len(active) > 0; {
		for next < len(f.refs) && (len(active) == 0 || f.refs[next].First <= active[0].packets[0].Time) {
			if err := ctx.Err(); err != nil {
				return err
			}
			l := &loaded{}
			if n := len(spare); n > 0 {
				l, spare = spare[n-1], spare[:n-1]
			}
			l.order = next
			if err := f.load(l, &f.refs[next], &dec, &buf); err != nil {
				f.Damaged++
			}
			next++
			if len(l.packets) == 0 {
				spare = append(spare, l)
				continue
			}
			if held += len(l.chunk); held > maxLoaded {
				return fmt.Errorf("fetch packets: the calls asked for need more than %s at one time: ask for fewer, or for a shorter time", Bytes(maxLoaded))
			}
			heap.Push(&active, l)
		}
		if len(active) == 0 {
			continue
		}
		l := active[0]
		p := &l.packets[0]
		f.Packets++
		if err := emit(p, l.read.Ifaces[p.Iface], f.refs[l.order].key); err != nil {
			return err
		}
		if l.packets = l.packets[1:]; len(l.packets) > 0 {
			heap.Fix(&active, 0)
			continue
		}
		heap.Pop(&active)
		held -= len(l.chunk)
		spare = append(spare, l)
	}
	return nil
}

// load reads a frame and takes its packets.
func (f *fetch) load(l *loaded, r *ref, dec *compress.Decoder, buf *[]byte) error {
	l.packets = l.room[:0]
	src := &f.sources[r.src]
	frame := r.data
	if r.Length > 2*compress.MaxPlain {
		return compress.ErrDamaged
	}
	if frame == nil {
		*buf = slices.Grow((*buf)[:0], int(r.Length))[:r.Length]
		if _, err := src.f.ReadAt(*buf, r.Offset); err != nil && err != io.EOF {
			return fmt.Errorf("read frame: %w", err)
		}
		f.Read += int64(r.Length)
		frame = *buf
	}
	f.Frames++
	if crc32.Checksum(frame, table) != r.Sum {
		return compress.ErrDamaged
	}
	var err error
	if l.chunk, err = dec.Append(l.chunk[:0], src.format, frame); err != nil {
		return err
	}
	if err := l.read.Reset(l.chunk); err != nil {
		return err
	}
	if string(l.read.Comment) != r.key {
		return compress.ErrDamaged
	}
	var p pcap.Packet
	for l.read.Next(&p) {
		if p.Time >= f.q.From && p.Time <= f.q.to() {
			l.packets = append(l.packets, p)
		}
	}
	l.room = l.packets
	// Time may go backwards in a capture.
	slices.SortStableFunc(l.packets, func(a, b pcap.Packet) int { return cmp.Compare(a.Time, b.Time) })
	return l.read.Err()
}

// Fetch calls emit with the packets of a query by time, while calls and
// segments still grow. The packet borrows from memory that is valid during emit.
func (s *Spool) Fetch(ctx context.Context, q Query, emit func(p *pcap.Packet, i pcap.Interface, key string) error) (Fetched, error) {
	f := newFetch(q)
	defer f.close()
	s.mu.Lock()
	var open []*segment
	for g := range s.live {
		open = append(open, g)
	}
	var closed []Name
	for _, k := range s.catalog {
		if q.wants(k.Name) {
			closed = append(closed, k.Name)
		}
	}
	s.mu.Unlock()
	// What is open now and closed in a moment is looked into once: here.
	slices.SortFunc(open, func(a, b *segment) int { return cmp.Compare(a.name.Path(), b.name.Path()) })
	for _, g := range open {
		if q.wants(g.name) {
			if err := f.open(g); err != nil {
				return f.Fetched, err
			}
		}
	}
	slices.SortFunc(closed, byPath)
	for _, n := range closed {
		if err := f.closed(s.fs, s.root, n); err != nil {
			return f.Fetched, err
		}
	}
	err := f.merge(ctx, emit)
	return f.Fetched, err
}

func byPath(a, b Name) int { return cmp.Compare(a.Path(), b.Path()) }

// FetchDir is Fetch for a directory that is not opened here. Hidden segments
// are read as far as they are written.
func FetchDir(ctx context.Context, files FS, root string, q Query, emit func(p *pcap.Packet, i pcap.Interface, key string) error) (Fetched, error) {
	f := newFetch(q)
	defer f.close()
	all, err := names(files, root)
	if err != nil {
		return f.Fetched, err
	}
	slices.SortFunc(all, byPath)
	for _, n := range all {
		if !q.wants(n) {
			continue
		}
		look := f.closed
		if n.Hidden {
			look = f.scan
		}
		if err := look(files, root, n); err != nil {
			return f.Fetched, err
		}
	}
	err = f.merge(ctx, emit)
	return f.Fetched, err
}

// Export returns an emit function that writes a capture file. In pcapng each
// packet carries the key of its call as a comment.
func Export(w *pcap.Writer) func(p *pcap.Packet, i pcap.Interface, key string) error {
	var q pcap.Packet
	var comment []byte
	return func(p *pcap.Packet, i pcap.Interface, key string) error {
		n, err := w.Interface(i)
		if err != nil {
			return err
		}
		comment = append(comment[:0], key...)
		q = *p
		q.Iface, q.Comment = n, comment
		return w.Write(&q)
	}
}

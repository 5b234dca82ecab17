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
	Segments int      // looked into
	Frames   int      // read
	Read     int64    // bytes of files, of indexes too
	Damaged  int      // frames and indexes that could not be read; the rest is there
	Missing  []string // what did not answer in time, and what of it is not there; empty if all is
}

// ref is a section that belongs to the answer.
type ref struct {
	src   int // in sources
	key   string
	data  []byte // the frame, or
	plain []byte // the section, where it is not in the file yet
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
	hashes  []uint64 // of the keys
	sources []source
	refs    []ref
	Fetched

	dec    compress.Decoder
	buf    []byte
	recent [recentFrames]decoded // frames that hold sections of many calls
	next   int                   // of them, to be replaced
}

// recentFrames is how many decoded frames a query keeps, since a frame may hold
// several sections of its answer.
const recentFrames = 8

type decoded struct {
	src    int
	offset int64
	chunk  []byte
}

func newFetch(q Query) *fetch {
	f := &fetch{q: q}
	for _, k := range q.Keys {
		f.keys = append(f.keys, keyOf(k))
	}
	slices.Sort(f.keys)
	f.keys = slices.Compact(f.keys)
	for _, k := range f.keys {
		f.hashes = append(f.hashes, hash(k))
	}
	return f
}

func (f *fetch) close() {
	for _, s := range f.sources {
		_ = s.f.Close() // it was only read
	}
}

// add notes a section if its time is asked for.
func (f *fetch) add(r ref) {
	if r.Last >= f.q.From && r.First <= f.q.to() {
		r.src = len(f.sources)
		f.refs = append(f.refs, r)
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

// closed looks into a segment that has its index, if it is there.
func (f *fetch) closed(files FS, root string, n Name) (found bool, err error) {
	file, err := files.Open(filepath.Join(root, n.Path()), false)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open segment: %w", err)
	}
	f.Segments++
	had := len(f.refs)
	x, err := openIndex(file, n.Format)
	if err == nil {
		for i, k := range f.keys {
			if err = x.find(f.hashes[i], func(e Entry) { f.add(ref{key: k, Entry: e}) }); err != nil {
				break
			}
		}
		f.Read += x.read
	}
	if err != nil {
		f.Damaged++
	}
	f.source(file, n.Format, had)
	return true, nil
}

// open looks into a segment that is being written.
func (f *fetch) open(s *segment) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	file, err := s.open()
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	f.Segments++
	had := len(f.refs)
	for i, key := range f.keys {
		s.index.find(f.hashes[i], func(e Entry) {
			r := ref{key: key, Entry: e}
			// Of one that is complete written is behind the index.
			if at := e.Offset - s.written; at >= 0 && !s.done {
				r.data = slices.Clone(s.buf[at : at+int64(e.Length)])
			}
			f.add(r)
		})
		for _, k := range s.of {
			if k.key == f.hashes[i] {
				f.add(ref{key: key, Entry: k.Entry, plain: slices.Clone(s.group[k.At : k.At+k.Chunk])})
			}
		}
	}
	f.source(file, s.name.Format, had)
	return nil
}

// scan looks into a segment that a writer of another process has open, or left,
// if it is there.
func (f *fetch) scan(files FS, root string, n Name) (found bool, err error) {
	file, err := files.Open(filepath.Join(root, n.Path()), false)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open segment: %w", err)
	}
	f.Segments++
	had := len(f.refs)
	s, err := scanSegment(file, n.Format, nil)
	if err != nil {
		_ = file.Close() // it was only read
		return false, err
	}
	f.Read += s.end
	for i, k := range f.keys {
		s.index.find(f.hashes[i], func(e Entry) { f.add(ref{key: k, Entry: e}) })
	}
	f.source(file, n.Format, had)
	return true, nil
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
			if err := f.load(l, &f.refs[next]); err != nil {
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

// load reads a section and takes its packets.
func (f *fetch) load(l *loaded, r *ref) error {
	l.packets = l.room[:0]
	if r.plain != nil {
		l.chunk = append(l.chunk[:0], r.plain...)
	} else if err := f.section(l, r); err != nil {
		return err
	}
	if err := l.read.Reset(l.chunk); err != nil {
		return err
	}
	if string(l.read.Comment) != r.key {
		return nil // another key with the same hash
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

// section copies a section out of its frame.
func (f *fetch) section(l *loaded, r *ref) error {
	var err error
	for i := range f.recent {
		if c := &f.recent[i]; len(c.chunk) > 0 && c.src == r.src && c.offset == r.Offset {
			return l.take(c.chunk, r)
		}
	}
	frame := r.data
	if frame == nil {
		if frame, err = f.read(r); err != nil {
			return err
		}
	}
	f.Frames++
	if crc32.Checksum(frame, table) != r.Sum {
		return compress.ErrDamaged
	}
	format := f.sources[r.src].format
	if format == compress.Plain { // a frame is one section
		l.chunk = append(l.chunk[:0], frame...)
		return nil
	}
	c := &f.recent[f.next]
	f.next = (f.next + 1) % len(f.recent)
	c.src, c.offset = r.src, r.Offset
	if c.chunk, err = f.dec.Append(c.chunk[:0], format, frame); err != nil {
		c.chunk = c.chunk[:0]
		return err
	}
	return l.take(c.chunk, r)
}

// read reads a frame from its file.
func (f *fetch) read(r *ref) ([]byte, error) {
	if r.Length > 2*compress.MaxPlain {
		return nil, compress.ErrDamaged
	}
	f.buf = slices.Grow(f.buf[:0], int(r.Length))[:r.Length]
	if _, err := f.sources[r.src].f.ReadAt(f.buf, r.Offset); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read frame: %w", err)
	}
	f.Read += int64(r.Length)
	return f.buf, nil
}

func (l *loaded) take(chunk []byte, r *ref) error {
	if uint64(r.At)+uint64(r.Chunk) > uint64(len(chunk)) {
		return compress.ErrDamaged
	}
	l.chunk = append(l.chunk[:0], chunk[r.At:r.At+r.Chunk]...)
	return nil
}

// Fetch calls emit with the packets of a query by time, while calls and
// segments still grow: shards and writers are asked for what they hold, and
// waited for not longer than half a second. Fetched says what is missing then.
// The packet borrows from memory that is valid during emit.
func (s *Spool) Fetch(ctx context.Context, q Query, emit func(p *pcap.Packet, i pcap.Interface, key string) error) (Fetched, error) {
	f := newFetch(q)
	defer f.close()
	s.gather(ctx, f)
	s.mu.Lock()
	var open []*segment
	for g := range s.live {
		open = append(open, g)
	}
	var closed []*kept
	for _, k := range s.catalog {
		if q.wants(k.Name) {
			closed = append(closed, k)
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
	slices.SortFunc(closed, func(a, b *kept) int { return byPath(a.Name, b.Name) })
	for _, k := range closed {
		// One that is not there any more has moved on, or is gone.
		for tier := k.tier; tier < len(s.tiers); tier++ {
			found, err := f.closed(s.fs, s.tiers[tier].dir, k.Name)
			if err != nil {
				return f.Fetched, err
			}
			if found {
				break
			}
		}
	}
	err := f.merge(ctx, emit)
	return f.Fetched, err
}

func byPath(a, b Name) int { return cmp.Compare(a.Path(), b.Path()) }

// FetchDir is Fetch for a directory that is not opened here. Hidden segments
// are read as far as they are written.
func FetchDir(ctx context.Context, files FS, root string, q Query, emit func(p *pcap.Packet, i pcap.Interface, key string) error) (Fetched, error) {
	return FetchDirs(ctx, files, []string{root}, q, emit)
}

// FetchDirs is FetchDir for a directory and its further tiers. A segment that is
// on its way from one to the next, and in both, is read once.
func FetchDirs(ctx context.Context, files FS, roots []string, q Query, emit func(p *pcap.Packet, i pcap.Interface, key string) error) (Fetched, error) {
	f := newFetch(q)
	defer f.close()
	seen := map[string]int{} // by the path of a segment, which of the sources it is
	for _, root := range roots {
		all, err := names(files, root)
		if err != nil {
			return f.Fetched, err
		}
		slices.SortFunc(all, byPath)
		for _, n := range all {
			if !q.wants(n) {
				continue
			}
			if n.Hidden {
				found, err := f.scan(files, root, n)
				if err != nil {
					return f.Fetched, err
				}
				if found {
					continue
				}
				n.Hidden = false // it has got its name, or is gone
			}
			// The file that was read stays open: where it lay it may be gone.
			if i, ok := seen[n.Path()]; ok && sameIndex(f.sources[i].f, filepath.Join(root, n.Path()), files, n) {
				continue
			}
			next := len(f.sources)
			if _, err := f.closed(files, root, n); err != nil {
				return f.Fetched, err
			}
			if len(f.sources) > next { // it has some of the answer
				seen[n.Path()] = next
			}
		}
	}
	err := f.merge(ctx, emit)
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

package sctp

// none is the number of no entry.
const none = ^uint32(0)

const slabChunk = 64

// slab holds entries by number. They stay where they are, in chunks that are
// allocated as they are needed and never given back.
type slab[T any] struct {
	chunks []*[slabChunk]T
	free   []uint32 // numbers to use again
	used   int
}

func (s *slab[T]) at(i uint32) *T { return &s.chunks[i/slabChunk][i%slabChunk] }

// take is the number of an entry that is free. It holds what it held before.
func (s *slab[T]) take() uint32 {
	s.used++
	n := len(s.free)
	if n == 0 {
		first := uint32(len(s.chunks) * slabChunk)
		s.chunks = append(s.chunks, new([slabChunk]T))
		for i := uint32(slabChunk); i > 0; i-- {
			s.free = append(s.free, first+i-1)
		}
		n = slabChunk
	}
	i := s.free[n-1]
	s.free = s.free[:n-1]
	return i
}

func (s *slab[T]) give(i uint32) {
	s.used--
	s.free = append(s.free, i)
}

package relate

// index finds calls by what they share. They leave it in the order in which they
// came, so that nothing is ever searched for to be removed: a list under a key
// runs from its newest call to older ones, and ends where the calls have left.
type index[T any] struct {
	calls queue[T]
	posts queue[post]
	heads map[uint64]uint64 // key to the number of its newest post
}

// post says that a call has a key.
type post struct {
	key, call uint64 // number of the call
	before    uint64 // number of the post before with that key; it may have left
	rank      uint32 // how many calls there are under the key, with those that left
	linked    bool   // before is set
}

func newIndex[T any]() index[T] { return index[T]{heads: make(map[uint64]uint64)} }

// add takes a call; the posts that follow are its own.
func (x *index[T]) add(c T) { x.calls.add(c) }

// post puts the newest call under a key, once.
func (x *index[T]) post(key uint64) {
	p := post{key: key, call: x.calls.next() - 1, rank: 1}
	if o := x.newest(key); o != nil {
		if o.call == p.call {
			return
		}
		p.before, p.linked, p.rank = x.heads[key], true, o.rank+1
	}
	x.heads[key] = x.posts.next()
	x.posts.add(p)
}

// newest is the last post under a key, or nil.
func (x *index[T]) newest(key uint64) *post {
	n, ok := x.heads[key]
	if !ok {
		return nil
	}
	return x.posts.at(n)
}

// older is the post before p under the same key, or nil.
func (x *index[T]) older(p *post) *post {
	if !p.linked {
		return nil
	}
	return x.posts.at(p.before)
}

// drop lets the oldest call go.
func (x *index[T]) drop() {
	oldest := x.calls.number
	for x.posts.len() > 0 && x.posts.first().call == oldest {
		if key := x.posts.first().key; x.heads[key] == x.posts.number {
			delete(x.heads, key)
		}
		x.posts.drop()
	}
	x.calls.drop()
}

// queue numbers what comes, and lets it go in the same order.
type queue[T any] struct {
	items  []T
	gone   int    // items at the front that have left
	number uint64 // of the first that has not
}

func (q *queue[T]) len() int     { return len(q.items) - q.gone }
func (q *queue[T]) first() *T    { return &q.items[q.gone] }
func (q *queue[T]) next() uint64 { return q.number + uint64(q.len()) }

// at is item n, or nil if it has left.
func (q *queue[T]) at(n uint64) *T {
	if n < q.number {
		return nil
	}
	return &q.items[q.gone+int(n-q.number)]
}

func (q *queue[T]) add(item T) {
	if q.gone > len(q.items)/2 && len(q.items) == cap(q.items) {
		q.items = q.items[:copy(q.items, q.items[q.gone:])]
		q.gone = 0
	}
	q.items = append(q.items, item)
}

func (q *queue[T]) drop() {
	q.gone++
	q.number++
}

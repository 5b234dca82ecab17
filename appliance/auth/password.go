package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// Cost is what one hash of a password costs.
type Cost struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// CostFor is the cost for a process that may use so many bytes of memory: the
// second recommendation of RFC 9106 section 4 (64 MiB, three passes, four lanes)
// where that is at most one part in 32, else less memory and more passes, down to
// 19 MiB.
func CostFor(memory int64) Cost {
	c := Cost{Memory: 64 << 10, Time: 3, Threads: 4}
	if memory > 0 {
		c.Memory = uint32(min(max(memory/32>>10, 19<<10), 64<<10))
	}
	if c.Memory < 32<<10 {
		c.Time = 4
	}
	return c
}

// Bytes is the memory that logins take at once, at most.
func (c Cost) Bytes() int64 { return loginSlots * int64(c.Memory) << 10 }

const (
	saltLen = 16
	keyLen  = 32

	minPassword = 10   // characters
	maxPassword = 1024 // bytes
)

// phc is a hash of a password in the PHC string format, taken apart.
type phc struct {
	cost      Cost
	salt, key []byte
}

func (p phc) String() string {
	enc := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.cost.Memory, p.cost.Time, p.cost.Threads, enc(p.salt), enc(p.key))
}

// parsePHC takes a hash apart. It takes only what String writes, with costs that
// a login can bear.
func parsePHC(s string) (phc, error) {
	var p phc
	bad := func(why string) (phc, error) { return phc{}, fmt.Errorf("read hash of a password: %s", why) }
	part := strings.Split(s, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" {
		return bad("it is not of the form $argon2id$v=…$m=…,t=…,p=…$salt$hash")
	}
	if part[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return bad("the version of argon2 is not supported")
	}
	_, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &p.cost.Memory, &p.cost.Time, &p.cost.Threads)
	if err != nil || part[3] != fmt.Sprintf("m=%d,t=%d,p=%d", p.cost.Memory, p.cost.Time, p.cost.Threads) {
		return bad("its costs are not of the form m=…,t=…,p=…")
	}
	if c := p.cost; c.Threads < 1 || c.Time < 1 || c.Time > 64 || c.Memory < 8*uint32(c.Threads) || c.Memory > 1<<20 {
		return bad("its costs are out of bounds")
	}
	enc := base64.RawStdEncoding.Strict()
	if p.salt, err = enc.DecodeString(part[4]); err != nil || len(p.salt) < 8 || len(p.salt) > 64 {
		return bad("its salt is not valid")
	}
	if p.key, err = enc.DecodeString(part[5]); err != nil || len(p.key) < 16 || len(p.key) > 64 {
		return bad("its key is not valid")
	}
	return p, nil
}

// hasher hashes passwords, few at a time: each takes 64 MiB and a core for a
// quarter of a second, and capture needs both.
type hasher struct {
	cost   Cost
	slots  chan struct{} // those that hash
	queue  chan struct{} // those that hash or wait
	hashed atomic.Uint64 // hashes made
}

func newHasher(cost Cost, slots, queue int) *hasher {
	return &hasher{cost: cost, slots: make(chan struct{}, slots), queue: make(chan struct{}, slots+queue)}
}

// enter waits for a slot. It fails with ErrBusy when too many wait already.
func (h *hasher) enter(ctx context.Context) (leave func(), err error) {
	select {
	case h.queue <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots; <-h.queue }, nil
	case <-ctx.Done():
		<-h.queue
		return nil, ctx.Err()
	}
}

func (h *hasher) derive(password string, p phc) []byte {
	h.hashed.Add(1)
	return argon2.IDKey([]byte(password), p.salt, p.cost.Time, p.cost.Memory, p.cost.Threads, uint32(len(p.key)))
}

// hash makes the hash of a new password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	p := phc{cost: h.cost, salt: random(saltLen), key: make([]byte, keyLen)}
	p.key = h.derive(password, p)
	return p.String(), nil
}

// verify compares a password with a hash.
func (h *hasher) verify(ctx context.Context, p phc, password string) (bool, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	return subtle.ConstantTimeCompare(h.derive(password, p), p.key) == 1, nil
}

// decoy is a hash that no password has, so that a name that does not exist costs
// as much as one that does.
func (h *hasher) decoy() phc { return phc{cost: h.cost, salt: random(saltLen), key: random(keyLen)} }

// random is n bytes that nobody can guess.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it does not return errors
	return b
}

// checkPassword refuses passwords that are guessed first.
func checkPassword(name, password string) error {
	lower := strings.ToLower(password)
	distinct := map[rune]bool{}
	for _, r := range lower {
		distinct[r] = true
	}
	switch {
	case !utf8.ValidString(password):
		return invalid("password", "it is not valid UTF-8")
	case utf8.RuneCountInString(password) < minPassword:
		return invalid("password", "it needs at least %d characters: several words are easy to remember", minPassword)
	case len(password) > maxPassword:
		return invalid("password", "it may have at most %d bytes", maxPassword)
	case len(distinct) < 5:
		return invalid("password", "it repeats the same few characters")
	case len(name) >= 4 && strings.Contains(lower, name) && len(lower) < len(name)+minPassword-2:
		return invalid("password", "it is little more than the name")
	case common(lower):
		return invalid("password", "it is one of those that are tried first")
	}
	return nil
}

// common reports whether a password is a word that everybody tries, with digits
// or signs around it.
func common(lower string) bool {
	core := strings.Trim(lower, "0123456789!?.,-_#$*+@ ")
	switch core {
	case "", "password", "passw0rd", "p@ssword", "p@ssw0rd", "passwort", "qwerty", "qwertyuiop", "qwertz", "qwertzuiop",
		"letmein", "welcome", "iloveyou", "administrator", "admin", "changeme", "voipmonitor", "ringside", "secret":
		return true
	}
	return false
}

package relate

import (
	"math/bits"
	"strings"
)

// number is a number in a form in which the two sides of a B2BUA can be
// compared: without signs, prefixes of dialling (+, 00, 0) and parameters. Its
// last 16 digits are kept, one in four bits; of a name, a hash.
type number struct {
	digits uint64
	n      uint8 // digits; 0: none; isName
}

const isName = 255

// Numbers agree in full, or in part: short ones are equal, or one is the end of
// the other (it lacks the area code, or has a prefix that a trunk wants), or both
// have a prefix of their own before many digits that are equal.
const (
	different = iota
	inPart
	inFull
)

// Lengths of numbers, digits.
const (
	minSuffix  = 6 // that one may have in common with the end of another
	fullSuffix = 9 // that is as good as the whole
)

func numberOf(user string) (out number) {
	user, _, _ = strings.Cut(user, ";")
	leading := true
	for i := 0; i < len(user); i++ {
		switch c := user[i]; {
		case c >= '0' && c <= '9':
			if leading = leading && c == '0'; !leading {
				out.digits = out.digits<<4 | uint64(c-'0')
				out.n = min(out.n+1, 16)
			}
		case c == '%' && i+2 < len(user): // an escaped + or #
			i += 2
		case strings.IndexByte("+-.() *#", c) >= 0:
		default:
			return nameOf(user)
		}
	}
	return out
}

// nameOf is a user name that is no number. Those that hide who calls are none.
func nameOf(user string) number {
	switch user = strings.ToLower(user); user {
	case "anonymous", "unknown", "restricted", "unavailable", "private":
		return number{}
	}
	return number{hash(0, user), isName}
}

// agrees tells how far two numbers are the same.
func (a number) agrees(b number) int {
	short := min(a.n, b.n)
	switch {
	case short == 0:
		return different
	case a == b:
		if short < minSuffix {
			return inPart
		}
		return inFull
	case a.n == isName || b.n == isName || short < minSuffix:
		return different
	}
	same := bits.TrailingZeros64(a.digits^b.digits) / 4 // digits at the end
	switch {
	case same >= int(short) && short >= fullSuffix:
		return inFull
	case same >= int(short), same >= fullSuffix:
		return inPart
	}
	return different
}

// bucket is what numbers that agree have in common.
func (a number) bucket() uint64 {
	if a.n >= minSuffix && a.n != isName {
		return a.digits & (1<<(4*minSuffix) - 1)
	}
	return mix(a.digits, uint64(a.n)) | 1<<63
}

package saslmech

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/xdg-go/stringprep"
	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// Why a string is refused. None of these errors holds a part of the string,
// which may be a password.
var (
	ErrTooLong    = errors.New("stringprep: more than 1023 bytes")
	ErrNotUTF8    = errors.New("stringprep: not UTF-8")
	ErrProhibited = errors.New("stringprep: prohibited character")
	ErrUnassigned = errors.New("stringprep: character not assigned in Unicode 3.2")
	ErrBidi       = errors.New("stringprep: mixed writing directions")
)

// maxPrepBytes bounds every string before and after its preparation (RFC 7622
// §3.1 for the parts of a JID; Prosody's util-src/encodings.c for all profiles).
const maxPrepBytes = 1023

// profile is a stringprep profile as ICU implements it, which is what Prosody
// uses. ICU differs from RFC 3454, and so from the profiles of
// xdg-go/stringprep, whose tables we share, in two points: only characters of
// Unicode 3.2 are normalised, others split the string into parts; and
// directions come from today's Unicode rather than from tables D.1 and D.2.
type profile struct {
	fold       bool // map with table B.2
	spaces     bool // map the spaces of table C.1.2 to U+0020
	strict     bool // refuse what Unicode 3.2 has not assigned (table A.1)
	prohibited []stringprep.Set
}

var (
	saslprep = &profile{spaces: true, prohibited: []stringprep.Set{
		stringprep.TableC1_2, stringprep.TableC2_1, stringprep.TableC2_2, stringprep.TableC3, stringprep.TableC4,
		stringprep.TableC5, stringprep.TableC6, stringprep.TableC7, stringprep.TableC8, stringprep.TableC9,
	}}
	nodeprep = &profile{fold: true, prohibited: []stringprep.Set{
		stringprep.TableC1_1, stringprep.TableC1_2, stringprep.TableC2_1, stringprep.TableC2_2, stringprep.TableC3, stringprep.TableC4,
		stringprep.TableC5, stringprep.TableC6, stringprep.TableC7, stringprep.TableC8, stringprep.TableC9,
		{{'"', '"'}, {'&', '\''}, {'/', '/'}, {':', ':'}, {'<', '<'}, {'>', '>'}, {'@', '@'}},
	}}
	nameprep = &profile{fold: true, prohibited: []stringprep.Set{
		stringprep.TableC1_1, stringprep.TableC1_2, stringprep.TableC2_1, stringprep.TableC2_2, stringprep.TableC3, stringprep.TableC4,
		stringprep.TableC5, stringprep.TableC6, stringprep.TableC7, stringprep.TableC8, stringprep.TableC9,
	}}
	resourceprep = &profile{prohibited: []stringprep.Set{
		stringprep.TableC1_2, stringprep.TableC2_1, stringprep.TableC2_2, stringprep.TableC3, stringprep.TableC4,
		stringprep.TableC5, stringprep.TableC6, stringprep.TableC7, stringprep.TableC8, stringprep.TableC9,
	}}
	resourceprepStrict = &profile{strict: true, prohibited: resourceprep.prohibited}
)

// The five functions below prepare s, or refuse it with ErrTooLong, ErrNotUTF8,
// ErrProhibited or ErrBidi. Characters that Unicode 3.2 has not assigned, emoji
// among them, are let through unless the name says Strict; then they are
// ErrUnassigned. The result may be empty. Printable ASCII that needs no change
// is returned as it is, without an allocation.

// SASLprep prepares a user name or a password (RFC 4013).
func SASLprep(s string) (string, error) {
	if len(s) <= maxPrepBytes && isPrintable(s) {
		return s, nil
	}
	return saslprep.prepare(s)
}

// Nodeprep prepares the local part of a JID (RFC 3920 appendix A): the result is
// in lower case and holds no space and none of "&'/:<>@.
func Nodeprep(s string) (string, error) {
	if len(s) <= maxPrepBytes && isPrintable(s) {
		if strings.ContainsAny(s, ` "&'/:<>@`) {
			return "", ErrProhibited
		}
		return strings.ToLower(s), nil
	}
	return nodeprep.prepare(s)
}

// Nameprep prepares the domain part of a JID (RFC 3491). It is stricter than the
// RFC in one point: ASCII spaces and control characters are ErrProhibited, since
// no domain holds them and a script's line protocol could be broken by them.
func Nameprep(s string) (string, error) {
	if len(s) <= maxPrepBytes && isPrintable(s) {
		if strings.IndexByte(s, ' ') >= 0 {
			return "", ErrProhibited
		}
		return strings.ToLower(s), nil
	}
	return nameprep.prepare(s)
}

// Resourceprep prepares the resource part of a JID (RFC 3920 appendix B).
func Resourceprep(s string) (string, error) {
	if len(s) <= maxPrepBytes && isPrintable(s) {
		return s, nil
	}
	return resourceprep.prepare(s)
}

// ResourceprepStrict is Resourceprep for a resource that is about to be bound:
// unassigned characters are ErrUnassigned.
func ResourceprepStrict(s string) (string, error) {
	if len(s) <= maxPrepBytes && isPrintable(s) {
		return s, nil
	}
	return resourceprepStrict.prepare(s)
}

// isPrintable reports whether s is printable ASCII throughout.
func isPrintable[T string | []byte](s T) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// prepare takes the steps of RFC 3454 §3: map, normalise, prohibit, bidi.
func (p *profile) prepare(s string) (string, error) {
	if len(s) > maxPrepBytes {
		return "", ErrTooLong
	}
	if !utf8.ValidString(s) {
		return "", ErrNotUTF8
	}
	mapped, err := p.mapRunes(s)
	if err != nil {
		return "", err
	}
	out, err := normalize(mapped)
	if err != nil {
		return "", err
	}
	if len(out) > maxPrepBytes {
		return "", ErrTooLong
	}
	for _, r := range out {
		for _, set := range p.prohibited {
			if set.Contains(r) {
				return "", ErrProhibited
			}
		}
	}
	if err := checkBidi(out); err != nil {
		return "", err
	}
	return out, nil
}

func (p *profile) mapRunes(s string) (string, error) {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		if p.strict && stringprep.TableA1.Contains(r) {
			return "", ErrUnassigned
		}
		if p.spaces && stringprep.TableC1_2.Contains(r) {
			// Before table B.1: U+200B is in both, and ICU makes it a space.
			b.WriteByte(' ')
			continue
		}
		if isNothing(r) {
			continue
		}
		if to, found := stringprep.TableB2[r]; found && p.fold {
			for _, r := range to {
				b.WriteRune(r)
			}
			continue
		}
		b.WriteRune(correct(r))
	}
	return b.String(), nil
}

// isNothing reports whether r is in table B.1, commonly mapped to nothing. The
// table of xdg-go/stringprep lacks U+1806.
func isNothing(r rune) bool {
	_, found := stringprep.TableB1[r]
	return found || r == '\u1806'
}

// correct undoes what Unicode's Corrigendum 4 changed about five ideographs
// after Unicode 3.2: stringprep goes by the older mappings.
func correct(r rune) rune {
	switch r {
	case '\U0002f868':
		return '\U0002136a'
	case '\U0002f874':
		return '\u5f33'
	case '\U0002f91f':
		return '\u43ab'
	case '\U0002f95f':
		return '\u7aae'
	case '\U0002f9bf':
		return '\u4d57'
	}
	return r
}

// combiningGraphemeJoiner is what x/text puts into a run of more than 30
// combining characters. Table B.1 has removed any that the string itself held.
const combiningGraphemeJoiner = '\u034f'

// normalize brings each run of characters of Unicode 3.2 into form KC by itself
// and leaves the others alone, as ICU's FilteredNormalizer2 does. A run of
// combining characters that x/text would break up is ErrProhibited: ICU would
// not break it up, and no name or password has one.
func normalize(s string) (string, error) {
	if norm.NFKC.IsNormalString(s) && strings.IndexFunc(s, unassigned) < 0 {
		return s, nil
	}
	var b strings.Builder
	for s != "" {
		n := strings.IndexFunc(s, unassigned)
		if n < 0 {
			n = len(s)
		}
		run := norm.NFKC.String(s[:n])
		if strings.ContainsRune(run, combiningGraphemeJoiner) {
			return "", ErrProhibited
		}
		b.WriteString(run)
		s = s[n:]
		n = strings.IndexFunc(s, func(r rune) bool { return !unassigned(r) })
		if n < 0 {
			n = len(s)
		}
		b.WriteString(s[:n])
		s = s[n:]
	}
	return b.String(), nil
}

func unassigned(r rune) bool { return stringprep.TableA1.Contains(r) }

// checkBidi applies RFC 3454 §6: a string with a right-to-left character has no
// left-to-right one, and begins and ends with a right-to-left character.
func checkBidi(s string) error {
	var first, last bidi.Class
	var ltr, rtl bool
	for i, r := range s {
		p, _ := bidi.LookupRune(r)
		last = p.Class()
		if i == 0 {
			first = last
		}
		ltr = ltr || last == bidi.L
		rtl = rtl || isRTL(last)
	}
	if rtl && (ltr || !isRTL(first) || !isRTL(last)) {
		return ErrBidi
	}
	return nil
}

func isRTL(c bidi.Class) bool { return c == bidi.R || c == bidi.AL }

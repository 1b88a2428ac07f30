package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"hash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	digits      = otpDigits + nonceDigits
	macChars    = 44 // base64 of 32 bytes
	tokenLength = digits + 1 + macChars
)

// keepMargin is how much longer than its one-time password lives a used token is
// remembered. It covers a clock that is set back by less, and the one case in a
// hundred million in which one of the next two windows has the same password.
const keepMargin = 60 * time.Second

// Span is how long before the expires that it tells a [ReplayStore] a token may have been good for the first time.
const Span = (2*skew+1)*step*time.Second + keepMargin

// An ID names a used token: SHA-256 over its digits and the bare JID. Tokens
// that differ only in the key that signed them have the same ID.
type ID [sha256.Size]byte

// A ReplayStore remembers used tokens. Many goroutines use it at once.
type ReplayStore interface {
	// Use marks id as used until expires and reports whether it was fresh. Of
	// any number of calls with one id, at one time or not, exactly one is told
	// that it was. now is the caller's clock. An error means that the store
	// cannot tell, or cannot make sure that it will remember.
	Use(id ID, expires, now time.Time) (fresh bool, err error)
}

// A Verifier checks tokens against a set of keys. It is safe for concurrent use.
type Verifier struct {
	replay  ReplayStore
	signers []*signer
	seeds   []string // base32
	codes   atomic.Pointer[windowCodes]
}

// signer is one token secret and the seeds, by index, that go with it.
type signer struct {
	seeds []int
	pool  sync.Pool // of *macState
}

type macState struct {
	mac  hash.Hash
	text []byte
	sum  []byte
}

// NewVerifier returns a verifier that accepts a token made with any of keys; the
// order is of no consequence. replay must not be nil and is not closed here. The error is
// ErrKey if there is no key or one has an empty part: with such a key anybody
// could sign, so a daemon must not start with it.
func NewVerifier(keys []Key, replay ReplayStore) (*Verifier, error) {
	if len(keys) == 0 {
		return nil, ErrKey
	}
	v := &Verifier{replay: replay}
	bySecret := make(map[string]*signer)
	for i, key := range keys {
		if err := key.check(); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(keys[:i], key.equal) {
			continue
		}
		s := bySecret[string(key.Secret)]
		if s == nil {
			secret := slices.Clone(key.Secret)
			s = &signer{pool: sync.Pool{New: func() any { return &macState{mac: hmac.New(sha256.New, secret)} }}}
			bySecret[string(key.Secret)] = s
			v.signers = append(v.signers, s)
		}
		seed := encodeSeed(key.Seed)
		n := slices.Index(v.seeds, seed)
		if n < 0 {
			n = len(v.seeds)
			v.seeds = append(v.seeds, seed)
		}
		s.seeds = append(s.seeds, n)
	}
	return v, nil
}

// Verify says whether token lets bareJID in at now, and uses it up. bareJID is
// the prepared user name, @ and the host as configured.
//
// (true, nil) is a good token that was not used before. (false, nil) is any
// other text: no token, not of this time, signed for another JID, with another
// key, or used before. (false, err) means that the token is good but the store
// cannot say whether it was used: nobody may be let in, and nobody be told that
// the token is wrong.
//
// How long it takes does not depend on which part of a well-formed token is
// wrong. Only a good token reaches the store; then Verify blocks as long as the
// store's Use does.
func (v *Verifier) Verify(token, bareJID string, now time.Time) (bool, error) {
	ok, _, err := v.Judge(token, bareJID, now)
	return ok, err
}

// A Fault is why a token is no good, in words for the operator. Whoever shows the
// token must not be told.
type Fault string

// The faults.
const (
	FaultShape     Fault = "it has not the shape of a token"
	FaultSignature Fault = "it is not signed for this user with this token_secret"
	FaultTime      Fault = "it is expired, or a clock is wrong, or it was made with another otp_seed"
	FaultUsed      Fault = "it was used before"
)

// Judge is [Verifier.Verify], and says why a token is no good: fault is empty if ok
// is true or there is an error.
func (v *Verifier) Judge(token, bareJID string, now time.Time) (ok bool, fault Fault, err error) {
	var mac [sha256.Size]byte
	if !parse(token, &mac) {
		return false, FaultShape, nil
	}
	window := windowOf(now)
	codes, err := v.codesAt(window)
	if err != nil {
		return false, "", fmt.Errorf("one-time password: %w", err)
	}
	var id ID
	good := false
	genuine := 0
	last := window - skew // the newest window whose password is the token's; the same whenever it is verified
	for _, s := range v.signers {
		signed := s.verify(token[:digits], bareJID, &mac, &id)
		genuine |= signed
		for _, seed := range s.seeds {
			for i := range codes.codes[seed] {
				if signed&codes.match(seed, i, token) == 1 {
					good = true
					last = max(last, window-skew+int64(i))
				}
			}
		}
	}
	switch {
	case !good && genuine == 0:
		return false, FaultSignature, nil
	case !good:
		return false, FaultTime, nil
	}
	expires := time.Unix((last+1+skew)*step, 0).Add(keepMargin)
	fresh, err := v.replay.Use(id, expires, now)
	switch {
	case err != nil:
		return false, "", fmt.Errorf("used tokens: %w", err)
	case !fresh:
		return false, FaultUsed, nil
	}
	return true, "", nil
}

// LooksLike reports whether password has the shape of a token: 40 digits, one
// space and the base64 of 32 bytes. Nothing is verified and nothing used up.
func (v *Verifier) LooksLike(password string) bool {
	var mac [sha256.Size]byte
	return parse(password, &mac)
}

// codesAt returns the one-time passwords of a window, which are the same for all
// logins of half a minute.
func (v *Verifier) codesAt(window int64) (*windowCodes, error) {
	if codes := v.codes.Load(); codes != nil && codes.window == window {
		return codes, nil
	}
	codes, err := makeCodes(v.seeds, window)
	if err != nil {
		return nil, err
	}
	v.codes.Store(codes)
	return codes, nil
}

// match returns 1 if token begins with the i-th code of a seed, otherwise 0.
func (w *windowCodes) match(seed, i int, token string) int {
	var given [otpDigits]byte
	copy(given[:], token)
	return subtle.ConstantTimeCompare(w.codes[seed][i][:], given[:])
}

// verify returns 1 if mac is the signature of digits and bareJID, otherwise 0,
// and sets id to the ID of the two.
func (s *signer) verify(digits, bareJID string, mac *[sha256.Size]byte, id *ID) int {
	st := s.pool.Get().(*macState)
	defer s.pool.Put(st)
	st.text = append(append(st.text[:0], digits...), bareJID...)
	st.mac.Reset()
	st.mac.Write(st.text)
	st.sum = st.mac.Sum(st.sum[:0])
	*id = sha256.Sum256(st.text)
	return subtle.ConstantTimeCompare(st.sum, mac[:])
}

// strictBase64 refuses stray bits in the last character; a decoded length of 32
// bytes from 44 characters leaves no room for the line ends that it skips. So
// each signature has one spelling.
var strictBase64 = base64.StdEncoding.Strict()

// parse reports whether token has the shape of a token and decodes its signature.
func parse(token string, mac *[sha256.Size]byte) bool {
	if len(token) != tokenLength || token[digits] != ' ' || !isDigits(token[:digits]) {
		return false
	}
	var text [macChars]byte
	var decoded [macChars / 4 * 3]byte
	copy(text[:], token[digits+1:])
	n, err := strictBase64.Decode(decoded[:], text[:])
	if err != nil || n != len(mac) {
		return false
	}
	copy(mac[:], decoded[:])
	return true
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

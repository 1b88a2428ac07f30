package token

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

var (
	// ErrKey says that a key cannot be used because its secret or its seed is
	// empty: anybody could sign with it.
	ErrKey = errors.New("empty token secret or seed")
	// ErrSeed says that a seed is not base32 or does not hold a whole byte.
	ErrSeed = errors.New("not a base32 seed")
)

// A Key is what a web application and gatehouse share. Printing or logging one
// shows neither part.
type Key struct {
	// Secret is the HMAC key: the bytes of option token_secret as they stand.
	Secret []byte
	// Seed is the key of the one-time passwords: option otp_seed, decoded.
	Seed []byte
}

// Combine returns a key for every secret with every seed. While keys are being
// rotated nobody knows which of the two the application changes first.
func Combine(secrets, seeds [][]byte) []Key {
	var keys []Key
	for _, secret := range secrets {
		for _, seed := range seeds {
			keys = append(keys, Key{Secret: secret, Seed: seed})
		}
	}
	return keys
}

// Format writes "[redacted]", whatever the verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// LogValue returns "[redacted]".
func (Key) LogValue() slog.Value { return slog.StringValue("[redacted]") }

func (k Key) check() error {
	if len(k.Secret) == 0 || len(k.Seed) == 0 {
		return ErrKey
	}
	return nil
}

func (k Key) equal(o Key) bool {
	return bytes.Equal(k.Secret, o.Secret) && bytes.Equal(k.Seed, o.Seed)
}

// ParseSeed decodes option otp_seed: base32 (RFC 4648 §6) of any length and in
// either case, with or without padding at its end; bits beyond the last whole
// byte are dropped, as the original's basexx does. Unlike there, ASCII spaces
// are skipped, since seeds are often written in groups of four, and a seed
// without a whole byte is refused. The error is ErrSeed.
func ParseSeed(s string) ([]byte, error) {
	seed, err := decodeSeed(strings.ReplaceAll(s, " ", ""))
	if err != nil || len(seed) == 0 {
		return nil, ErrSeed
	}
	return seed, nil
}

// decodeSeed is basexx.from_base32 of the original.
func decodeSeed(s string) ([]byte, error) {
	s = strings.ToUpper(strings.TrimRight(s, "="))
	var seed []byte
	var bits uint32
	n := 0 // how many bits are waiting
	for i := range len(s) {
		v := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", s[i])
		if v < 0 {
			return nil, ErrSeed
		}
		bits = bits<<5 | uint32(v) // #nosec G115 -- five bits
		if n += 5; n >= 8 {
			n -= 8
			seed = append(seed, byte(bits>>n))
		}
	}
	return seed, nil
}

// GenerateKeys returns new random values for the options token_secret (256 bits,
// 52 characters) and otp_seed (160 bits, 32 characters), both in base32 letters;
// the secret is used as it stands, without decoding.
func GenerateKeys() (secret, seed string) {
	var raw [32 + 20]byte
	_, _ = rand.Read(raw[:]) // never fails
	encoding := base32.StdEncoding.WithPadding(base32.NoPadding)
	return encoding.EncodeToString(raw[:32]), encoding.EncodeToString(raw[32:])
}

package token

import (
	"encoding/base32"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

const (
	step      = 30 // seconds
	otpDigits = 8
	skew      = 1 // steps that a clock may be ahead or behind
)

// windowCodes holds the one-time passwords that are good in one window: for each
// seed those of the window before, of the window itself and of the next. It is
// never changed once it is made.
type windowCodes struct {
	window int64
	codes  [][2*skew + 1][otpDigits]byte
}

// windowOf returns the number of the 30-second window that holds t.
func windowOf(t time.Time) int64 {
	seconds := t.Unix()
	window := seconds / step
	if seconds%step < 0 {
		window--
	}
	return window
}

// makeCodes computes the codes of seeds, which are in base32, at window.
func makeCodes(seeds []string, window int64) (*windowCodes, error) {
	w := &windowCodes{window: window, codes: make([][2*skew + 1][otpDigits]byte, len(seeds))}
	for i, seed := range seeds {
		for j := range w.codes[i] {
			counter := window - skew + int64(j)
			if counter < 0 {
				continue // before 1970; NULs, which no token holds
			}
			code, err := makeCode(seed, counter)
			if err != nil {
				return nil, err
			}
			copy(w.codes[i][j][:], code)
		}
	}
	return w, nil
}

// makeCode returns the one-time password of one window (RFC 6238 with SHA-1).
func makeCode(seed string, window int64) (string, error) {
	return hotp.GenerateCodeCustom(seed, uint64(window), hotp.ValidateOpts{ // #nosec G115 -- never below 0
		Digits:    otp.DigitsEight,
		Algorithm: otp.AlgorithmSHA1,
	})
}

// encodeSeed writes a seed as pquerna/otp wants to have it.
func encodeSeed(seed []byte) string { return base32.StdEncoding.EncodeToString(seed) }

package token

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"
)

const nonceDigits = 32

// ErrNonce says that a nonce is not 32 ASCII digits.
var ErrNonce = errors.New("a nonce has exactly 32 digits")

// Mint makes the token with which bareJID can log in at now: prepared user name,
// @, host as configured. The error is ErrKey or ErrNonce. A nonce must not be
// used twice for one JID within two minutes; NewNonce takes care of that.
func Mint(key Key, bareJID string, now time.Time, nonce string) (string, error) {
	if err := key.check(); err != nil {
		return "", err
	}
	if len(nonce) != nonceDigits || !isDigits(nonce) {
		return "", ErrNonce
	}
	code, err := makeCode(encodeSeed(key.Seed), windowOf(now))
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key.Secret)
	mac.Write([]byte(code + nonce + bareJID))
	return code + nonce + " " + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

// NewNonce returns 32 random digits.
func NewNonce() string {
	nonce := make([]byte, 0, nonceDigits)
	for len(nonce) < nonceDigits {
		var raw [nonceDigits]byte
		_, _ = rand.Read(raw[:]) // never fails
		for _, b := range raw {
			// 250 is the last multiple of ten in a byte: each digit is as likely.
			if b < 250 && len(nonce) < nonceDigits {
				nonce = append(nonce, '0'+b%10)
			}
		}
	}
	return string(nonce)
}

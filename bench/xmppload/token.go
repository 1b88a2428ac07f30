package main

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

func decodeSeed(seed string) ([]byte, error) {
	s := strings.ToUpper(strings.TrimRight(strings.ReplaceAll(seed, " ", ""), "="))
	return base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(s)
}

// totp is RFC 6238 with SHA-1, 8 digits, 30 s.
func totp(key []byte, t time.Time) string {
	var c [8]byte
	binary.BigEndian.PutUint64(c[:], uint64(t.Unix()/30))
	m := hmac.New(sha1.New, key)
	m.Write(c[:])
	s := m.Sum(nil)
	o := s[len(s)-1] & 15
	v := binary.BigEndian.Uint32(s[o:]) & 0x7fffffff
	return fmt.Sprintf("%08d", v%100000000)
}

// mint makes an X-TOKEN credential: otp+nonce, a space, base64 of the
// HMAC-SHA256 over otp+nonce+jid. Each call draws a new nonce.
func mint(key []byte, secret, jid string, t time.Time) string {
	var nonce [32]byte
	for i := range nonce {
		nonce[i] = byte('0' + rand.IntN(10))
	}
	on := totp(key, t) + string(nonce[:])
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(on + jid))
	return on + " " + base64.StdEncoding.EncodeToString(m.Sum(nil))
}

func cmdToken(args []string) error {
	fs, t, _ := newFlags("token")
	user := fs.String("u", "u0", "user")
	fs.Parse(args)
	if err := t.prepare(); err != nil {
		return err
	}
	fmt.Println(mint(t.seedKey, t.Secret, *user+"@"+t.Domain, time.Now()))
	return nil
}

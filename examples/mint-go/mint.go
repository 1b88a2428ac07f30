// Mint-go mints the token with which a user of your web application logs in to the chat, once and within 30 seconds.
//
//	TOKEN_SECRET=... OTP_SEED=... mint-go USER HOST [UNIX-TIME]
package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log"
	"math/big"
	"os"
	"strconv"
	"strings"
	"time"
)

// mint returns a token for user@host. The user is as in the JID: lower case, and never two people's. The error says
// that otpSeed is not base32.
func mint(user, host, secret, otpSeed string, now time.Time) (string, error) {
	otp, err := totp(otpSeed, now)
	if err != nil {
		return "", err
	}
	random, err := rand.Int(rand.Reader, new(big.Int).Exp(big.NewInt(10), big.NewInt(32), nil))
	if err != nil {
		return "", err
	}
	nonce := fmt.Sprintf("%032d", random)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(otp + nonce + user + "@" + host))
	return otp + nonce + " " + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

// totp returns the one-time password of RFC 6238: SHA-1, 30 seconds, 8 digits.
func totp(otpSeed string, now time.Time) (string, error) {
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(otpSeed, "="))
	if err != nil {
		return "", fmt.Errorf("otp_seed: %w", err)
	}
	mac := hmac.New(sha1.New, key)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(now.Unix()/30)))
	sum := mac.Sum(nil)
	number := binary.BigEndian.Uint32(sum[sum[19]&15:]) & 0x7fffffff
	return fmt.Sprintf("%08d", number%1e8), nil
}

func main() {
	secret, otpSeed := os.Getenv("TOKEN_SECRET"), os.Getenv("OTP_SEED")
	if len(os.Args) < 3 || secret == "" || otpSeed == "" {
		log.Fatal("usage: TOKEN_SECRET=... OTP_SEED=... mint-go USER HOST [UNIX-TIME]")
	}
	now := time.Now()
	if len(os.Args) > 3 {
		seconds, err := strconv.ParseInt(os.Args[3], 10, 64)
		if err != nil {
			log.Fatal(err)
		}
		now = time.Unix(seconds, 0)
	}
	token, err := mint(os.Args[1], os.Args[2], secret, otpSeed, now)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token)
}

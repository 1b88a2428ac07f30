package token

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	testSecret = "JYXEX4IQOEYFYQ2S3MC5P4ZT4SDHYEA7"
	testSeed   = "XVGR73KMZH2M4XMY"
	testNonce  = "31415926535897932384626433832795"
	alice      = "alice@xmpp.example"
)

var testTime = time.Unix(1795313100, 0) // the first second of a window

func testKey(tb testing.TB) Key {
	tb.Helper()
	seed, err := ParseSeed(testSeed)
	if err != nil {
		tb.Fatal(err)
	}
	return Key{Secret: []byte(testSecret), Seed: seed}
}

func newVerifier(tb testing.TB, replay ReplayStore, keys ...Key) *Verifier {
	tb.Helper()
	v, err := NewVerifier(keys, replay)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func mint(tb testing.TB, key Key, jid string, at time.Time, nonce string) string {
	tb.Helper()
	token, err := Mint(key, jid, at, nonce)
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// sign makes a token of parts that Mint would refuse.
func sign(key Key, signed, jid, separator string) string {
	mac := hmac.New(sha256.New, key.Secret)
	mac.Write([]byte(signed + jid))
	return signed + separator + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func check(tb testing.TB, v *Verifier, token, jid string, at time.Time, want bool) {
	tb.Helper()
	if got, err := v.Verify(token, jid, at); err != nil || got != want {
		tb.Errorf("Verify(%q, %q) = %v, %v, want %v", token, jid, got, err, want)
	}
}

func TestVerify_windows(t *testing.T) {
	key := testKey(t)
	for _, c := range []struct {
		minted time.Duration
		want   bool
	}{
		{-61 * time.Second, false}, {-31 * time.Second, false}, {-30 * time.Second, true}, {-time.Second, true}, {0, true},
		{29 * time.Second, true}, {30 * time.Second, true}, {59 * time.Second, true}, {60 * time.Second, false}, {time.Hour, false},
	} {
		v := newVerifier(t, new(Memory), key)
		check(t, v, mint(t, key, alice, testTime.Add(c.minted), testNonce), alice, testTime, c.want)
	}
}

func TestVerify_refusesOtherForms(t *testing.T) {
	key := testKey(t)
	good := mint(t, key, alice, testTime, testNonce)
	digits, mac := good[:40], good[41:]
	code := good[:8]
	sum1 := hmac.New(sha1.New, key.Secret)
	sum1.Write([]byte(digits + alice))
	raw, err := base64.StdEncoding.DecodeString(mac)
	if err != nil {
		t.Fatal(err)
	}
	// The last character carries two bits that belong to no byte.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	stray := mac[:42] + string(alphabet[strings.IndexByte(alphabet, mac[42])|1]) + "="
	for name, token := range map[string]string{
		"empty":                       "",
		"space":                       " ",
		"OTP only":                    code,
		"OTP, space":                  code + " ",
		"no signature":                digits,
		"no signature, space":         digits + " ",
		"no space":                    digits + mac,
		"two spaces":                  digits + "  " + mac,
		"tab":                         digits + "\t" + mac,
		"line feed":                   digits + "\n" + mac,
		"comma":                       digits + "," + mac,
		"leading space":               " " + good,
		"trailing space":              good + " ",
		"trailing NUL":                good + "\x00",
		"trailing line feed":          good + "\n",
		"more padding":                good + "=",
		"no padding":                  good[:84],
		"text after the padding":      good + "AAAA",
		"line feed in the signature":  digits + " " + mac[:20] + "\n" + mac[20:43],
		"space in the signature":      digits + " " + mac[:20] + " " + mac[20:43],
		"stray bits":                  digits + " " + stray,
		"URL-safe":                    digits + " " + base64.URLEncoding.EncodeToString(append([]byte{0xfb, 0xff}, raw[2:]...)),
		"31 bytes":                    digits + " " + base64.StdEncoding.EncodeToString(raw[:31]),
		"33 bytes":                    digits + " " + base64.StdEncoding.EncodeToString(append(raw, 0)),
		"HMAC-SHA-1":                  digits + " " + base64.StdEncoding.EncodeToString(sum1.Sum(nil)),
		"flipped bit":                 digits + " " + base64.StdEncoding.EncodeToString(append([]byte{raw[0] ^ 1}, raw[1:]...)),
		"wrong OTP, signed":           sign(key, "00000000"+testNonce, alice, " "),
		"seven digits":                sign(key, code[1:]+testNonce, alice, " "),
		"full-width digits":           sign(key, "３"+code[1:]+testNonce, alice, " "),
		"Arabic-Indic digits, 40 B":   sign(key, code+strings.Repeat("\u0661", 16), alice, " "),
		"other JID":                   mint(t, key, "bob@xmpp.example", testTime, testNonce),
		"other host":                  mint(t, key, "alice@other.example", testTime, testNonce),
		"full JID":                    mint(t, key, alice+"/r", testTime, testNonce),
		"upper-case JID":              mint(t, key, "ALICE@xmpp.example", testTime, testNonce),
		"other secret":                mint(t, Key{[]byte("other"), key.Seed}, alice, testTime, testNonce),
		"other seed":                  mint(t, Key{key.Secret, []byte("other")}, alice, testTime, testNonce),
		"very long":                   strings.Repeat("1", 1<<20),
		"NULs for a code before 1970": sign(key, strings.Repeat("\x00", 8)+testNonce, alice, " "),
	} {
		store := new(Memory)
		v := newVerifier(t, store, key)
		if got, err := v.Verify(token, alice, testTime); got || err != nil {
			t.Errorf("%s: %v, %v, want a no", name, got, err)
		}
		if store.used.count != 0 {
			t.Errorf("%s: left a trace in the store", name)
		}
	}
	check(t, newVerifier(t, new(Memory), key), good, alice, testTime, true)
}

// T1: once a token of another window was accepted, the former was good again.
func TestVerify_T1_replayAfterNewerOTPIsRefused(t *testing.T) {
	key := testKey(t)
	v := newVerifier(t, new(Memory), key)
	first := mint(t, key, alice, testTime, testNonce)
	second := mint(t, key, alice, testTime.Add(30*time.Second), NewNonce())
	third := mint(t, key, alice, testTime.Add(-30*time.Second), NewNonce())
	for _, token := range []string{first, second, third} {
		check(t, v, token, alice, testTime, true)
	}
	for at := time.Duration(0); at < 3*time.Minute; at += time.Second {
		for _, token := range []string{first, second, third} {
			check(t, v, token, alice, testTime.Add(at), false)
		}
	}
}

// T2: nothing separates nonce and JID in the signed text.
func TestVerify_T2_digitsCannotMoveIntoTheName(t *testing.T) {
	key := testKey(t)
	v := newVerifier(t, new(Memory), key)
	code := mint(t, key, alice, testTime, testNonce)[:8]
	for _, c := range []struct{ nonce, jid, asNonce, asJID string }{
		{testNonce, "1bob@xmpp.example", testNonce + "1", "bob@xmpp.example"},
		{testNonce[:31] + "7", "bob@xmpp.example", testNonce[:31], "7bob@xmpp.example"},
		{testNonce, "0123@xmpp.example", testNonce[:20], testNonce[20:] + "0123@xmpp.example"},
	} {
		issued := sign(key, code+c.nonce, c.jid, " ")
		moved := strings.Replace(issued, c.nonce, c.asNonce, 1)
		check(t, v, moved, c.asJID, testTime, false)
		check(t, v, issued, c.jid, testTime, true)
	}
	for _, n := range []int{0, 1, 31, 33, 64, 500} {
		check(t, v, sign(key, code+strings.Repeat("5", n), alice, " "), alice, testTime, false)
	}
}

// T4: texts that made the original fail without an answer are refused.
func TestVerify_T4_malformedIsANo(t *testing.T) {
	key := testKey(t)
	v := newVerifier(t, new(Memory), key)
	code := mint(t, key, alice, testTime, testNonce)[:8]
	for _, token := range []string{sign(key, code+"abcdef", alice, " "), " ", code, code + " ", code + testNonce, sign(key, code+testNonce, alice, ",")} {
		check(t, v, token, alice, testTime, false)
	}
}

// T5: the original skips what stands before the digits.
func TestVerify_T5_anchored(t *testing.T) {
	key := testKey(t)
	v := newVerifier(t, new(Memory), key)
	token := mint(t, key, alice, testTime, testNonce)
	for _, prefix := range []string{"junk", "O", "x", " ", "token ", "\x00"} {
		check(t, v, prefix+token, alice, testTime, false)
	}
	check(t, v, token, alice, testTime, true)
}

// T6: keys that cannot be used, or that anybody can guess, are noticed at the start.
func TestNewVerifier_T6_refusesEmptyKeys(t *testing.T) {
	key := testKey(t)
	for name, keys := range map[string][]Key{
		"none":         nil,
		"empty secret": {{nil, key.Seed}},
		"empty seed":   {{key.Secret, nil}},
		"second empty": {key, {}},
	} {
		if v, err := NewVerifier(keys, new(Memory)); !errors.Is(err, ErrKey) || v != nil {
			t.Errorf("%s: %v, %v, want ErrKey", name, v, err)
		}
	}
	for _, seed := range []string{"", " ", "=", "A", "MFRGG-ZDF", "MFRGG0189", "XVGR73KM\n", "XVGR=73KM", "é"} {
		if got, err := ParseSeed(seed); !errors.Is(err, ErrSeed) || got != nil {
			t.Errorf("ParseSeed(%q) = %x, %v, want ErrSeed", seed, got, err)
		}
	}
}

func TestParseSeed_spacesAreSkipped(t *testing.T) {
	want := testKey(t).Seed
	if got, err := ParseSeed("xvgr 73km zh2m 4xmy"); err != nil || string(got) != string(want) {
		t.Errorf("%x, %v, want %x", got, err, want)
	}
}

func TestVerify_rotation(t *testing.T) {
	secrets, seeds := [][]byte{[]byte("new"), []byte("old")}, [][]byte{[]byte("new seed"), []byte("old seed")}
	keys := Combine(secrets, seeds)
	if len(keys) != 4 {
		t.Fatalf("%d keys, want 4", len(keys))
	}
	v := newVerifier(t, new(Memory), append(keys, keys...)...)
	for _, key := range keys {
		token := mint(t, key, alice, testTime, NewNonce())
		check(t, v, token, alice, testTime, true)
		check(t, v, token, alice, testTime, false)
	}
	check(t, v, mint(t, Key{[]byte("gone"), seeds[0]}, alice, testTime, NewNonce()), alice, testTime, false)

	// Keys that are not combined stay in their pairs.
	paired := newVerifier(t, new(Memory), Key{secrets[0], seeds[0]}, Key{secrets[1], seeds[1]})
	check(t, paired, mint(t, Key{secrets[0], seeds[1]}, alice, testTime, NewNonce()), alice, testTime, false)
	check(t, paired, mint(t, Key{secrets[1], seeds[1]}, alice, testTime, NewNonce()), alice, testTime, true)

	// The same digits for the same user, signed anew, are the same token.
	check(t, v, mint(t, keys[0], alice, testTime, testNonce), alice, testTime, true)
	check(t, v, mint(t, Key{secrets[1], seeds[0]}, alice, testTime, testNonce), alice, testTime, false)
}

func TestVerify_plusAndSlash(t *testing.T) {
	key := testKey(t)
	v := newVerifier(t, new(Memory), key)
	for _, c := range []string{"+", "/"} {
		token := ""
		for !strings.Contains(token, c) {
			token = mint(t, key, alice, testTime, NewNonce())
		}
		check(t, v, token, alice, testTime, true)
	}
}

type brokenStore struct{ err error }

func (s brokenStore) Use(ID, time.Time, time.Time) (bool, error) { return true, s.err }

func TestVerify_storeFaultIsNeitherYesNorNo(t *testing.T) {
	key := testKey(t)
	fault := errors.New("disk full")
	v := newVerifier(t, brokenStore{fault}, key)
	token := mint(t, key, alice, testTime, testNonce)
	if ok, err := v.Verify(token, alice, testTime); ok || !errors.Is(err, fault) {
		t.Errorf("%v, %v, want an error", ok, err)
	}
	// Whoever has no good token does not get that far.
	check(t, v, token[:84]+"A", alice, testTime, false)
}

func TestVerify_before1970(t *testing.T) {
	key := testKey(t)
	v := newVerifier(t, new(Memory), key)
	check(t, v, mint(t, key, alice, testTime, testNonce), alice, time.Unix(-5, 0), false)
	if w := windowOf(time.Unix(-1, 0)); w != -1 {
		t.Errorf("window %d, want -1", w)
	}
	if w := windowOf(time.Unix(-30, 0)); w != -1 {
		t.Errorf("window %d, want -1", w)
	}
}

func TestLooksLike(t *testing.T) {
	key := testKey(t)
	v := newVerifier(t, new(Memory), key)
	token := mint(t, key, alice, testTime.Add(-time.Hour), testNonce)
	for password, want := range map[string]bool{
		token: true, token + "=": false, token[1:]: false, "": false, "secret": false, "x" + token[1:]: false,
		strings.Replace(token, " ", "_", 1): false, strings.Repeat("1", 40) + " " + strings.Repeat("A", 43) + "=": true,
	} {
		if got := v.LooksLike(password); got != want {
			t.Errorf("LooksLike(%q) = %v", password, got)
		}
	}
	check(t, v, mint(t, key, alice, testTime, testNonce), alice, testTime, true) // nothing was used up
}

func TestMint_refuses(t *testing.T) {
	key := testKey(t)
	for _, c := range []struct {
		key   Key
		nonce string
		want  error
	}{
		{Key{}, testNonce, ErrKey}, {Key{Secret: key.Secret}, testNonce, ErrKey}, {Key{Seed: key.Seed}, testNonce, ErrKey},
		{key, "", ErrNonce}, {key, testNonce[1:], ErrNonce}, {key, testNonce + "1", ErrNonce}, {key, testNonce[1:] + "x", ErrNonce},
	} {
		if token, err := Mint(c.key, alice, testTime, c.nonce); token != "" || !errors.Is(err, c.want) {
			t.Errorf("nonce %q: %q, %v, want %v", c.nonce, token, err, c.want)
		}
	}
}

func TestGenerateKeys_areDifferentAndWork(t *testing.T) {
	secret, seed := GenerateKeys()
	otherSecret, otherSeed := GenerateKeys()
	if secret == otherSecret || seed == otherSeed || len(secret) != 52 || len(seed) != 32 {
		t.Fatal("keys are short or repeat")
	}
	decoded, err := ParseSeed(seed)
	if err != nil || len(decoded) != 20 {
		t.Fatalf("seed of %d bytes, %v", len(decoded), err)
	}
	key := Key{Secret: []byte(secret), Seed: decoded}
	check(t, newVerifier(t, new(Memory), key), mint(t, key, alice, testTime, NewNonce()), alice, testTime, true)
}

func TestNewNonce_allDigitsAppear(t *testing.T) {
	var seen [10]int
	for range 100 {
		nonce := NewNonce()
		if len(nonce) != 32 || !isDigits(nonce) {
			t.Fatalf("%q", nonce)
		}
		for _, c := range nonce {
			seen[c-'0']++
		}
	}
	for d, n := range seen {
		if n < 200 || n > 450 { // 320 expected, 7 standard deviations
			t.Errorf("digit %d: %d of 3200", d, n)
		}
	}
}

func TestKey_isNeverShown(t *testing.T) {
	key := testKey(t)
	shown := fmt.Sprintf("%v %+v %#v %s %x %d %q", key, &key, key, []Key{key}, key, key, key) + key.LogValue().String()
	for _, form := range []string{testSecret, fmt.Sprintf("%x", testSecret), strings.Trim(fmt.Sprint(key.Secret), "[]"), strings.Trim(fmt.Sprint(key.Seed), "[]")} {
		if strings.Contains(shown, form) {
			t.Errorf("a key was shown: %s", shown)
		}
	}
}

func TestVerify_allocatesLittle(t *testing.T) {
	limit := 2.0
	if raceEnabled {
		limit = 20 // the race detector makes a sync.Pool drop things at random
	}
	key := testKey(t)
	v := newVerifier(t, brokenStore{}, key)
	token := mint(t, key, alice, testTime, testNonce)
	check(t, v, token, alice, testTime, true)
	if n := testing.AllocsPerRun(1000, func() { _, _ = v.Verify(token, alice, testTime) }); n > limit {
		t.Errorf("%v allocations, want at most %v", n, limit)
	}
}

package token

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// naiveVerify is the definition of a good token, written without a thought for
// speed or timing, and with none of the code it is compared with.
func naiveVerify(key Key, token, jid string, now int64) bool {
	m := regexp.MustCompile(`\A([0-9]{8})([0-9]{32}) ([A-Za-z0-9+/]{43}=)\z`).FindStringSubmatch(token)
	if m == nil {
		return false
	}
	mac := hmac.New(sha256.New, key.Secret)
	mac.Write([]byte(m[1] + m[2] + jid))
	if base64.StdEncoding.EncodeToString(mac.Sum(nil)) != m[3] {
		return false
	}
	for counter := now/30 - 1; counter <= now/30+1; counter++ {
		h := hmac.New(sha1.New, key.Seed)
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(counter)))
		sum := h.Sum(nil)
		at := sum[19] & 15
		if fmt.Sprintf("%08d", (binary.BigEndian.Uint32(sum[at:])&0x7fffffff)%100_000_000) == m[1] {
			return true
		}
	}
	return false
}

func FuzzVerify(f *testing.F) {
	key := testKey(f)
	good := mint(f, key, alice, testTime, testNonce)
	for _, token := range []string{good, good + " ", " " + good, "x" + good, good[:40], good[:41], "", good[:84], good[:20] + "\n" + good[21:]} {
		f.Add(token, alice, int64(0), int64(0))
	}
	f.Add(good, "bob@xmpp.example", int64(30), int64(1))
	f.Add(good, "", int64(-60), int64(8))
	f.Fuzz(func(t *testing.T, token, jid string, offset, change int64) {
		now := testTime.Unix() + offset%120
		fresh := mint(t, key, jid, time.Unix(testTime.Unix(), 0), testNonce)
		if i := int(uint64(change) >> 8 % uint64(len(fresh))); change != 0 {
			fresh = fresh[:i] + string([]byte{byte(change)}) + fresh[i+1:]
		}
		for _, token := range []string{token, fresh} {
			store := new(Memory)
			v := newVerifier(t, store, key)
			ok, err := v.Verify(token, jid, time.Unix(now, 0))
			if err != nil {
				t.Fatal(err)
			}
			if want := naiveVerify(key, token, jid, now); ok != want {
				t.Fatalf("Verify(%q, %q, %d) = %v, reference %v", token, jid, now, ok, want)
			}
			if again, err := v.Verify(token, jid, time.Unix(now, 0)); again || err != nil {
				t.Fatalf("%q: second time %v, %v", token, again, err)
			}
			if ok && !v.LooksLike(token) {
				t.Fatalf("%q is good and does not look like a token", token)
			}
		}
	})
}

func FuzzParseSeed(f *testing.F) {
	for _, seed := range []string{"", "A", "AA", "MFRGGZDFM", "xvgr 73km zh2m 4xmy", "MFRGGZDFMZTWQ2LK====", "MFRGG-ZDF", "=A", "ſK"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		seed, err := ParseSeed(s)
		if err != nil {
			if seed != nil || err != ErrSeed {
				t.Fatalf("%q: %x, %v", s, seed, err)
			}
			return
		}
		again, err := ParseSeed(encodeSeed(seed))
		if err != nil || string(again) != string(seed) || len(seed) == 0 {
			t.Fatalf("%q: %x, encoded and parsed again %x, %v", s, seed, again, err)
		}
	})
}

// FuzzOpenReplay changes bytes of a good file: it is refused, or opens, knows
// what was used, and can be used. It never ends the program. Only the last commit
// may be missing: damage to its meta page looks as if it had never been finished.
func FuzzOpenReplay(f *testing.F) {
	path := filepath.Join(f.TempDir(), "replay.db")
	r := openReplay(f, path)
	for i := range 20 {
		use(f, r, testID(i), testTime.Add(time.Minute), testTime, true)
	}
	closeReplay(f, r)
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(0), []byte{0xff}, uint32(0))
	f.Add(uint32(os.Getpagesize()+16), []byte{0, 1, 2, 3}, uint32(0))
	f.Add(uint32(3*os.Getpagesize()), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, uint32(0))
	f.Add(uint32(0), []byte{}, uint32(5000))
	f.Fuzz(func(t *testing.T, offset uint32, patch []byte, cut uint32) {
		data := append([]byte(nil), good...)
		copy(data[int(offset)%len(data):], patch)
		data = data[:len(data)-int(cut)%len(data)]
		path := filepath.Join(t.TempDir(), "replay.db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := OpenReplay(path)
		if err != nil {
			return
		}
		for i := range 19 {
			if fresh, err := r.Use(testID(i), testTime.Add(time.Minute), testTime); fresh || err != nil {
				t.Fatalf("token %d: %v, %v after damage that was not noticed", i, fresh, err)
			}
		}
		first, err := r.Use(testID(1000), testTime.Add(time.Minute), testTime)
		again, againErr := r.Use(testID(1000), testTime.Add(time.Minute), testTime)
		if again || err == nil && (!first || againErr != nil) {
			t.Fatalf("%v %v, then %v %v", first, err, again, againErr)
		}
		_ = r.Close()
	})
}

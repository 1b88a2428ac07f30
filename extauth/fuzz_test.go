package extauth

import (
	"bytes"
	"strings"
	"testing"
)

func FuzzDecodeGeneric(f *testing.F) {
	for _, s := range []string{"", "0", "1", "1\n", "0\r\n", "1\r", "1\n\n", "1\n0\n", "\n1\n", "1 ", "11\n", "1\x00", "\ufeff1\n", "true"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, yes := decodeGeneric(b)
		checkReply(t, decodeGeneric, b)
		switch s := string(b); {
		case (r == replyDone) != (s == "0\n" || s == "1\n" || s == "0\r\n" || s == "1\r\n"),
			(r == replyQuiet) != (s == "0" || s == "1"),
			yes && s[0] != '1':
			t.Errorf("%q: %v, %v", s, r, yes)
		}
	})
}

func FuzzDecodeEjabberd(f *testing.F) {
	for _, s := range []string{"", "\x00", "\x00\x02\x00\x00", "\x00\x02\x00\x01", "\x00\x02\x00\x02", "\x00\x03\x00\x00\x01", "\x02\x00\x01\x00", "1\n", "\x00\x02\x00\x01\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, yes := decodeEjabberd(b)
		checkReply(t, decodeEjabberd, b)
		if want := string(b) == "\x00\x02\x00\x01"; yes != want || (r == replyDone) != (want || string(b) == "\x00\x02\x00\x00") {
			t.Errorf("%q: %v, %v", b, r, yes)
		}
	})
}

// checkReply holds for both protocols: however the bytes are cut into pieces, what was read so far is judged the same,
// only a complete answer says yes, and nothing that follows makes good what was bad.
func checkReply(t *testing.T, decode func([]byte) (reply, bool), b []byte) {
	t.Helper()
	bad := false
	for i := range len(b) + 1 {
		r, yes := decode(b[:i])
		if bad && r != replyBad && r != replyMany {
			t.Errorf("%q is bad, but not with %q behind it", b[:i-1], b[i-1:i])
		}
		bad = r == replyBad || r == replyMany
		if yes && r != replyDone && r != replyQuiet {
			t.Errorf("%q: yes without an answer", b[:i])
		}
	}
}

// FuzzOwed: behind an answer without a line end, one line end is let through and nothing else, however it is cut.
func FuzzOwed(f *testing.F) {
	for _, s := range []string{"", "\n", "\r\n", "\r", "\r1\n", "\n\n", "\n1\n", "1\n", "\r\n0\n"} {
		f.Add([]byte(s), 1)
	}
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		rest, _ := owesLineEnd.take(b)
		if cut >= 0 && cut <= len(b) {
			first, o := owesLineEnd.take(b[:cut])
			if len(first) == 0 {
				then, _ := o.take(b[cut:])
				// A CR that turns out to be no line end is gone by then; what follows is judged without it.
				if !bytes.Equal(then, rest) && !bytes.Equal(append([]byte("\r"), then...), rest) {
					t.Errorf("%q whole leaves %q, cut at %d %q", b, rest, cut, then)
				}
			}
		}
		for _, end := range []string{"\r\n", "\n"} {
			if after, ok := bytes.CutPrefix(b, []byte(end)); ok {
				if !bytes.Equal(after, rest) {
					t.Errorf("%q leaves %q", b, rest)
				}
				return
			}
		}
		if string(b) != "\r" && !bytes.Equal(b, rest) {
			t.Errorf("%q leaves %q", b, rest)
		}
	})
}

func FuzzQuery(f *testing.F) {
	f.Add("alice", "example.org", "secret", true)
	f.Add("al:ice", "example.org", "a:b", true)
	f.Add("alice", "bücher.example", "new\nisuser:admin:example.org", true)
	f.Add("ünï", "example.org\x00", "\u0085", false)
	f.Add("u", "h", strings.Repeat("x", 1000), true)
	f.Fuzz(func(t *testing.T, user, host, password string, hasPassword bool) {
		q := query{verb: "auth", user: user, host: host, password: password, hasPassword: hasPassword}
		if q.check() != nil {
			return
		}
		text := "auth:" + user + ":" + host
		if hasPassword {
			text += ":" + password
		}
		if len(text) > maxQueryBytes || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
			t.Errorf("%q passed", text)
		}
		if f := strings.SplitN(text, ":", 4); f[1] != user || f[2] != host || hasPassword && f[3] != password {
			t.Errorf("%q can be read in two ways", text)
		}
		if got := string(Generic.appendQuery(nil, &q)); got != text+"\n" || strings.Count(got, "\n") != 1 {
			t.Errorf("generic: %q", got)
		}
		if got := Ejabberd.appendQuery(nil, &q); int(got[0])<<8|int(got[1]) != len(text) || string(got[2:]) != text {
			t.Errorf("ejabberd: %q", got)
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add([]byte("auth:alice:example.org:secret\x1b[31m"), "secret")
	f.Add([]byte("\xff\x00"), "")
	f.Fuzz(func(t *testing.T, line []byte, secret string) {
		log := new(stderrLog)
		log.hide(secret)
		got := clean(masked(line, log.secrets[:]))
		if strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q holds a control character", got)
		}
		if len(got) > 4*maxStderrLine {
			t.Errorf("%d bytes", len(got))
		}
	})
}

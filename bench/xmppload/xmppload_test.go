package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestTOTP_rfc6238(t *testing.T) {
	// RFC 6238, appendix B, SHA-1
	key := []byte("12345678901234567890")
	for at, want := range map[int64]string{59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130"} {
		if got := totp(key, time.Unix(at, 0)); got != want {
			t.Errorf("totp at %d: %s, want %s", at, got, want)
		}
	}
}

func TestMint_signsAndNeverRepeats(t *testing.T) {
	key, err := decodeSeed("XVGR73KMZH2M4XMY")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1700000000, 0)
	a, b := mint(key, "s3cret", "u1@bench.test", now), mint(key, "s3cret", "u1@bench.test", now)
	if a == b {
		t.Error("the same nonce twice")
	}
	on, sig, ok := strings.Cut(a, " ")
	if !ok || len(on) != 40 || on[:8] != totp(key, now) {
		t.Fatalf("token %q", a)
	}
	m := hmac.New(sha256.New, []byte("s3cret"))
	m.Write([]byte(on + "u1@bench.test"))
	if base64.StdEncoding.EncodeToString(m.Sum(nil)) != sig {
		t.Errorf("signature of %q", a)
	}
}

func TestScanner_cutsInAnyPieces(t *testing.T) {
	in := "<?xml version='1.0'?><stream:stream a='>' to=\"x\">\n<stream:features><a x='</a>'><b/>t</a></stream:features>" +
		" <iq id='1'/><message to='a&gt;b' id=\"m7\"><body>x&lt;y</body></message></stream:stream>"
	type piece struct {
		k kind
		s string
	}
	want := []piece{{kOpen, "<stream:stream a='>' to=\"x\">"}, {kElem, "<stream:features><a x='</a>'><b/>t</a></stream:features>"},
		{kElem, "<iq id='1'/>"}, {kElem, "<message to='a&gt;b' id=\"m7\"><body>x&lt;y</body></message>"}, {kClose, "</stream:stream>"}}
	for _, one := range []bool{false, true} {
		s := newScanner(strings.NewReader(in))
		if one {
			s.r = iotest.OneByteReader(s.r)
		}
		for _, w := range want {
			k, raw, err := s.next()
			if err != nil || k != w.k || string(raw) != w.s {
				t.Fatalf("got %v %q %v, want %v", k, raw, err, w)
			}
		}
		if _, _, err := s.next(); err == nil {
			t.Error("no error at the end")
		}
	}
	// a long stanza must not be searched from its start at each read
	s := newScanner(iotest.HalfReader(strings.NewReader("<m><body>" + strings.Repeat("x", 1<<20) + "</body></m>")))
	if _, raw, err := s.next(); err != nil || len(raw) != 1<<20+20 {
		t.Fatal(len(raw), err)
	}
	m := []byte("<message to='a&gt;b' id=\"m7\" >")
	if attr(m, "id") != "m7" || attr(m, "to") != "a&gt;b" || attr(m, "x") != "" {
		t.Error("attr")
	}
}

func TestParsePids_groups(t *testing.T) {
	gs, err := parsePids("front=1,server=2,front=3")
	if err != nil || len(gs) != 2 || gs[0].Name != "front" || len(gs[0].Pids) != 2 {
		t.Fatal(gs, err)
	}
	if _, err := parsePids("x=y"); err == nil {
		t.Error("no error")
	}
	g := group{"self", []int{os.Getpid()}}
	if g.mem().PSS <= 0 || len(tree(g.Pids)) == 0 {
		t.Error("nothing read of this process")
	}
}

// TestLogin_againstFloor drives the client against the canned server, with the auth program.
func TestLogin_againstFloor(t *testing.T) {
	dir := t.TempDir()
	if err := cmdGenCert([]string{"-dir", dir}); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "authscript")
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/authscript").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pool, err := startPool(bin, 1)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "ecdsa.crt"), filepath.Join(dir, "ecdsa.key"))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- serveFloor(ln, "canned", &tls.Config{Certificates: []tls.Certificate{cert}}, pool)
	}()
	defer func() {
		ln.Close()
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if err := pool.close(); err != nil {
			t.Error(err)
		}
	}()
	tg := &target{Addr: ln.Addr().String(), Domain: "bench.test", Mech: "PLAIN", Seed: "XVGR73KMZH2M4XMY", UserFmt: "u%d", PassFmt: "pass:%s", Users: 10, Until: "bind", Close: "graceful", Timeout: 5 * time.Second, NSrc: 2, Curve: "x25519", Mix: true}
	if err := tg.prepare(); err != nil {
		t.Fatal(err)
	}
	r := newResult(&common{}, "login")
	lat, _, _ := loginMany(tg, 40, 4, 0, r, nil)
	if len(lat) != 40 || len(r.Errors) != 0 {
		t.Fatal(len(lat), r.Errors)
	}
}

func TestGroup_cpuSecondsIsFinerThanTicks(t *testing.T) {
	g := group{"self", []int{os.Getpid()}}
	before, self := g.cpuSeconds(), selfCPU()
	for selfCPU()-self < 0.004 {
		_ = totp([]byte("key"), time.Now())
	}
	if used := g.cpuSeconds() - before; used < 0.004 || used > 1 {
		t.Errorf("%v s were used, at least 0.004 were", used)
	}
	st, ok := readStat(os.Getpid())
	if !ok || math.Abs(st.cpuSeconds(os.Getpid())-st.cpu) > 0.1 {
		t.Errorf("%v s by the clock, %v by the ticks", st.cpuSeconds(os.Getpid()), st.cpu)
	}
}

package state

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/redistest"
)

// liar answers whatever it reads with the same bytes, and closes the connection if told to.
type liar struct {
	address string
	answer  atomic.Pointer[string]
	closes  bool
}

func newLiar(t testing.TB, answer string, closes bool) *liar {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	l := &liar{address: ln.Addr().String(), closes: closes}
	l.answer.Store(&answer)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go l.talk(conn)
		}
	}()
	return l
}

func (l *liar) talk(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	buf := make([]byte, 16<<10)
	for {
		if _, err := conn.Read(buf); err != nil {
			return
		}
		if _, err := conn.Write([]byte(*l.answer.Load())); err != nil || l.closes {
			return
		}
	}
}

func openLiar(t testing.TB, l *liar) *Store {
	t.Helper()
	store := Open(Config{Addresses: []string{l.address}, Prefix: "gatehouse", Logger: slog.New(slog.DiscardHandler)}, span)
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// TestStore_liars: only the very answer of a Redis is a verdict.
func TestStore_liars(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"silence":          "",
		"http":             "HTTP/1.1 400 Bad Request\r\n\r\n",
		"ok":               "+OK\r\n",
		"one":              ":1\r\n",
		"nil":              "$-1\r\n",
		"no list":          "*-1\r\n",
		"empty list":       "*0\r\n",
		"short list":       "*2\r\n$5\r\nfresh\r\n:1\r\n",
		"long list":        "*4\r\n$5\r\nfresh\r\n:1\r\n$0\r\n\r\n:1\r\n",
		"list cut off":     "*3\r\n$5\r\nfresh\r\n:1\r\n",
		"wrong types":      "*3\r\n:1\r\n$5\r\nfresh\r\n$0\r\n\r\n",
		"wrong word":       "*3\r\n$5\r\nFRESH\r\n:1\r\n$0\r\n\r\n",
		"other word":       "*3\r\n$4\r\nwell\r\n:1\r\n$0\r\n\r\n",
		"mute":             "*3\r\n$4\r\nmute\r\n:0\r\n$0\r\n\r\n",
		"time before 1970": "*3\r\n$5\r\nfresh\r\n:-1\r\n$0\r\n\r\n",
		"long reason":      "*3\r\n$5\r\nfresh\r\n:1\r\n$200\r\n" + strings.Repeat("x", 200) + "\r\n",
		"error":            "-ERR " + strings.Repeat("x", 2000) + "\r\n",
		"moved":            "-MOVED 1 127.0.0.1:1\r\n",
		"large list":       "*1000000000\r\n",
		"large string":     "$1000000000\r\n",
		"nested lists":     strings.Repeat("*60000\r\n", 1000),
		"zeros":            strings.Repeat("\x00", 100),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := openLiar(t, newLiar(t, answer, false))
			began := time.Now()
			fresh, err := use(store, newID())
			if fresh || !errors.Is(err, ErrAway) && !errors.Is(err, ErrAnswer) {
				t.Errorf("%v, %v", fresh, err)
			}
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if took := time.Since(began); took > timeout+500*time.Millisecond {
				t.Errorf("that took %v", took)
			}
			good, err := store.Take(newID(), newID())
			if good || err == nil && answer != "$-1\r\n" && answer != "*-1\r\n" {
				t.Errorf("a ticket: %v, %v", good, err)
			}
		})
	}
}

// TestStore_saysNoSecrets: neither errors nor what is logged have a password or the name of a key.
func TestStore_saysNoSecrets(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--requirepass", "canary-right")
	var log strings.Builder
	c := Config{Addresses: []string{s.Addr}, Prefix: "gatehouse", Password: "canary-wrong", Username: "canary-user",
		Logger: slog.New(slog.NewTextHandler(&log, nil))}
	store := Open(c, span)
	_, err := use(store, newID())
	if !errors.Is(err, ErrAway) {
		t.Errorf("with a wrong password: %v", err)
	}
	until(t, "the state is bad", 3*time.Second, func() bool {
		e := store.down.Load()
		return e != nil && *e != nil
	})
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	text := log.String() + err.Error() + strings.Join([]string{fmt.Sprintf("%v", c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%s", c)}, " ")
	if strings.Contains(text, "canary") || !strings.Contains(log.String(), "tokens are refused until Redis can be used") {
		t.Error(text)
	}
}

// FuzzStore_answers: no answer but one makes a yes.
func FuzzStore_answers(f *testing.F) {
	f.Add("*3\r\n$4\r\nused\r\n:1\r\n$0\r\n\r\n")
	f.Add("*3\r\n$5\r\nfresh\r\n:-5\r\n$0\r\n\r\n")
	f.Add("*3\r\n$6\r\nclocks\r\n:1790000000000\r\n$0\r\n\r\n")
	f.Add("*1000000000\r\n")
	f.Add("$1000000000\r\n")
	f.Add("-NOSCRIPT x\r\n")
	f.Add("-ASK 1 x\r\n")
	l := newLiar(f, "", true)
	f.Fuzz(func(t *testing.T, answer string) {
		l.answer.Store(&answer)
		store := &Store{config: Config{Prefix: "gatehouse"}, client: newClient(Config{Addresses: []string{l.address}}), span: span}
		defer func() { _ = store.client.Close() }()
		fresh, err := use(store, newID())
		if fresh && (err != nil || !strings.Contains(answer, "fresh")) {
			t.Errorf("%q: %v, %v", answer, fresh, err)
		}
	})
}

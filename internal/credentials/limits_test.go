package credentials

import (
	"fmt"
	"testing"
	"time"
)

func TestBuckets_areBounded(t *testing.T) {
	b := buckets{max: 10}
	now := time.Unix(1000, 0)
	for i := range 1000 {
		b.get(fmt.Sprint(i), 3, now).AllowN(now, 1)
	}
	if n := len(b.current); n > 11 {
		t.Errorf("%d of 10 names are counted", n)
	}
	if wait := b.empty("0", now); wait != 0 {
		t.Errorf("one who came early waits %s", wait)
	}
	if wait := b.empty("new", now); wait == 0 {
		t.Error("those for whom there was no room are not counted together")
	}
	now = now.Add(window)
	b.get("x", 3, now)
	now = now.Add(window)
	b.get("x", 3, now)
	if n := len(b.current) + len(b.previous); n != 2 {
		t.Errorf("%d names are kept after two windows, want one, in both", n)
	}
	now = now.Add(2 * window)
	if b.empty("x", now); len(b.current)+len(b.previous) != 0 {
		t.Errorf("%v and %v are kept after two windows of nothing", b.current, b.previous)
	}
}

// What is counted near the end of a window is not forgotten with it.
func TestBuckets_rememberForAWindow(t *testing.T) {
	b := buckets{}
	now := time.Unix(1000, 0)
	b.get("first", 1, now)
	now = now.Add(window - time.Second)
	b.get("x", 1, now).AllowN(now, 1)
	for range 3 {
		now = now.Add(window / 4)
		if b.empty("x", now) == 0 {
			t.Fatalf("forgotten at %v", now)
		}
	}
	if now = now.Add(window / 4); b.empty("x", now) != 0 {
		t.Error("still counted after a whole window")
	}
}

func TestAddressOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:4000":          "192.0.2.1",
		"192.0.2.1":               "192.0.2.1",
		"[::ffff:192.0.2.1]:4000": "192.0.2.1",
		"[2001:db8::1]:4000":      "2001:db8::/64",
		"2001:db8::ffff":          "2001:db8::/64",
		"[fe80::1%eth0]:4000":     "fe80::/64",
		"@":                       "unix",
		"":                        "unix",
	} {
		if got := addressOf(remote); got != want {
			t.Errorf("%q is %s, want %s", remote, got, want)
		}
	}
}

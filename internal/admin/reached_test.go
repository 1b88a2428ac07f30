package admin

import (
	"encoding/json"
	"maps"
	"testing"
	"time"
)

func TestReached_lastMinutes(t *testing.T) {
	var r reached
	at := func(minutes int) time.Time { return epoch.Add(time.Duration(minutes) * time.Minute) }
	expect := func(now int, want map[string]uint64) {
		t.Helper()
		if got := r.recent(at(now)); !maps.Equal(got, want) {
			t.Errorf("after %d minutes: %v, want %v", now, got, want)
		}
	}
	expect(0, map[string]uint64{})
	r.add("size", at(0))
	r.add("size", at(0))
	r.add("unread", at(1))
	r.add("size", at(9))
	expect(9, map[string]uint64{"size": 3, "unread": 1})
	expect(10, map[string]uint64{"size": 1, "unread": 1})
	r.add("login_time", at(10)) // in the place of the first minute
	expect(10, map[string]uint64{"size": 1, "unread": 1, "login_time": 1})
	expect(19, map[string]uint64{"login_time": 1})
	expect(20, map[string]uint64{})
	expect(1, map[string]uint64{"unread": 1}) // the clock was set back
	r.add("size", time.Unix(-1, 0))
}

func TestHandler_limitsReached(t *testing.T) {
	m := NewMetrics("1.0")
	h := Handler(m, shop(), ReadOnly)
	for range 3 {
		m.Limit("unauthed_connections")
	}
	var got struct {
		Reached map[string]uint64 `json:"limits_reached"`
	}
	if err := json.Unmarshal([]byte(get(t, h, "/status.json").body), &got); err != nil {
		t.Fatal(err)
	}
	if want := map[string]uint64{"unauthed_connections": 3}; !maps.Equal(got.Reached, want) {
		t.Errorf("got %v, want %v", got.Reached, want)
	}
}

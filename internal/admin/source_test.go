package admin

import (
	"context"
	"errors"
	"sync"
	"time"
)

// fakeSource is a daemon that holds still unless a test moves it.
type fakeSource struct {
	mu     sync.Mutex // guards the fields below
	status Status
	ready  error
	reload func() (string, error)
}

func (f *fakeSource) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

func (f *fakeSource) Ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ready
}

func (f *fakeSource) Reload(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reload == nil {
		return "", errors.New("nothing to reload")
	}
	return f.reload()
}

// change lets a test move the daemon while others look.
func (f *fakeSource) change(to func(*fakeSource)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	to(f)
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// shop is a daemon with everything that a daemon can have.
func shop() *fakeSource {
	return &fakeSource{status: Status{
		Version: "1.0",
		Started: epoch,
		Hosts: []Host{
			{Name: "example.org", Mechanisms: []string{"PLAIN", "X-TOKEN"}, Pool: &Pool{
				Script: "/usr/local/bin/auth", Processes: 4, Size: 2, Busy: 1, Queued: 3, Restarts: 5, Timeouts: 6,
				Workers: []Worker{{ID: 1, PID: 100, Busy: true, Since: epoch, Answers: 7}, {ID: 2, PID: 101, Since: epoch, Old: true}},
			}, Cache: &Cache{On: true, Script: 40, Shared: 41, Cache: 42, Outage: 43, Yes: 44, No: 45}},
			{Name: "token.example", Mechanisms: []string{"X-TOKEN"}},
		},
		Certificates: []Certificate{
			{Host: "example.org", Names: []string{"example.org"}, NotAfter: epoch.AddDate(0, 0, 30), Issuer: "R3", File: "/etc/certs/example.org.crt"},
			{Host: "example.org", Names: []string{"example.org"}, NotAfter: epoch.AddDate(0, 0, 10), Issuer: "R3", File: "/etc/certs/example.org.crt"},
			{Host: "token.example", Names: []string{"token.example"}, NotAfter: epoch.AddDate(1, 0, 0), SelfSigned: true, File: "/etc/certs/\xfftoken.crt"},
		},
		Connections: map[string]int{"handshake": 1, "login": 2, "session": 3},
		Places:      &Places{Connections: 50, Unauthed: 51, Addresses: 52, MaxConnections: 53, MaxUnauthed: 54, MaxPerAddress: 55},
		Replay:      &Replay{Entries: 12, OK: true},
		Guard:       &Guard{Delayed: map[string]uint64{"pair": 5}, Refused: map[string]uint64{"address": 6}, Counters: 7, Known: 8, Shared: new(bool), Alone: 9, Saved: true},
		Config:      Config{Path: "/etc/prosody/prosody.cfg.lua", LoadedAt: epoch, OK: true},
		Listeners:   []Listener{{Address: "[::]:5222", Kind: "starttls"}},
	}}
}

package admin

import (
	"context"
	"errors"
	"time"
)

// ErrNotAsked is wrapped by the error of a reload that was not begun.
var ErrNotAsked = errors.New("not reloaded")

// A Source is the daemon, asked when somebody looks. Its methods may be called by any number of goroutines at a time.
type Source interface {
	// Status returns how things are. It must not wait for anything slow, and what it returns belongs to the caller.
	Status() Status
	// Ready returns nil if clients can log in now, or else an error whose text has one reason a line.
	Ready() error
	// Reload reads the config anew and waits for the outcome, until ctx ends: what changed, for people, or why the
	// config in use stays. The error wraps ErrNotAsked if nobody has looked at the config.
	Reload(ctx context.Context) (string, error)
}

// Status is the daemon at one moment.
type Status struct {
	Version      string         `json:"version"`
	Machine      string         `json:"machine"` // its name
	Started      time.Time      `json:"started"`
	Hosts        []Host         `json:"hosts"`
	Certificates []Certificate  `json:"certificates"`
	Connections  map[string]int `json:"connections"` // by state: "handshake", "login", "session", "relay"
	Places       *Places        `json:"places"`
	Replay       *Replay        `json:"replay"` // nil if no host takes tokens
	Guard        *Guard         `json:"guard"`  // nil if there is none
	Config       Config         `json:"config"`
	Listeners    []Listener     `json:"listeners"`
}

// Host is one VirtualHost that gatehouse serves.
type Host struct {
	Name       string   `json:"name"`
	Mechanisms []string `json:"mechanisms"`
	Pool       *Pool    `json:"pool"`  // nil if no script is asked
	Cache      *Cache   `json:"cache"` // nil if no script is asked
}

// Pool is the processes of a host's script.
type Pool struct {
	Script    string `json:"script"`    // the command, for people
	Processes int    `json:"processes"` // as many as the config allows
	Size      int    `json:"size"`      // that are alive
	Busy      int    `json:"busy"`      // that have a query
	Queued    int    `json:"queued"`    // queries that wait for a process
	Restarts  int    `json:"restarts"`  // processes that ended or had to be killed, since the pool's start
	Timeouts  int    `json:"timeouts"`  // queries whose deadline passed, since the pool's start
	// Fault is why no process is alive, if that is not as it should be.
	Fault   string   `json:"fault,omitempty"`
	Workers []Worker `json:"workers"`
}

// Cache is what stands before a host's script. The first numbers count passwords that were to be judged, by what was done
// about them, since the pool's start.
type Cache struct {
	On     bool   `json:"on"`     // verdicts are remembered
	Script uint64 `json:"script"` // asked, whether it could say or not
	Shared uint64 `json:"shared"` // asked for somebody else who came with the same password
	Cache  uint64 `json:"cache"`  // remembered
	Outage uint64 `json:"outage"` // remembered from before its life was over, since nobody could say
	Yes    int    `json:"yes"`    // verdicts that are remembered
	No     int    `json:"no"`
	// Waiting is how many logins wait for an answer of the script, equal ones included.
	Waiting int `json:"waiting"`
}

// Worker is one process of a pool.
type Worker struct {
	ID      int       `json:"id"`
	PID     int       `json:"pid"`
	Busy    bool      `json:"busy"`
	Since   time.Time `json:"since"` // when it got its query if it is busy, or else since when it has been idle
	Started time.Time `json:"started"`
	Answers int       `json:"answers"`
	Old     bool      `json:"old"` // a reload has replaced it; it ends once it has answered
}

// Certificate is one that clients of a host may be shown.
type Certificate struct {
	Host       string    `json:"host"`
	Names      []string  `json:"names"`
	NotAfter   time.Time `json:"not_after"`
	Issuer     string    `json:"issuer"`
	SelfSigned bool      `json:"self_signed"`
	File       string    `json:"file"`
}

// Replay is the memory of used tokens.
type Replay struct {
	Entries int    `json:"entries"`          // 0 if it is shared
	Shared  string `json:"shared,omitempty"` // where, if other fronts have the same one
	OK      bool   `json:"ok"`               // false: it cannot be read or written, and no token is accepted
	Err     string `json:"error,omitempty"`
}

// Config is the state of the config file.
type Config struct {
	Path string `json:"path"`
	// LoadedAt is when the config in use was read.
	LoadedAt time.Time `json:"loaded_at"`
	// OK is false if a newer file was refused: at BrokenAt, for the reason in Error. The config in use is then older.
	OK       bool      `json:"ok"`
	BrokenAt time.Time `json:"broken_at,omitzero"`
	Error    string    `json:"error,omitempty"`
	// LastChange says what the last reload changed, by the names of options.
	LastChange string `json:"last_change,omitempty"`
}

// Listener is an open port.
type Listener struct {
	Address string `json:"address"`
	Kind    string `json:"kind"` // "starttls", "direct", "admin", or what else there is
}

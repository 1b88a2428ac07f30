package extauth

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"
)

// Config describes a pool. It is read once, by NewPool or Pool.Prepare, and may be shared afterwards.
type Config struct {
	// Name is the host that the pool works for. It appears in the log only.
	Name string
	// Command is the script and its arguments; there is no shell. Command[0] holds a slash: NewPool does no
	// search in PATH. The file is looked at when a worker starts, so it may appear or change later.
	Command []string
	// Files are the paths of what the program runs, if it is an interpreter: when one of them or Command[0] has
	// changed, Prepare makes ready for new processes. What the script itself writes must not be among them.
	Files []string
	// Dir is the working directory of the script; empty means the daemon's own.
	Dir string
	// Env is the environment of the script. Nil means Environ(), as it is when the Config is read.
	Env []string
	// Protocol is the wire format.
	Protocol Protocol
	// Timeout is the time that a query may take from its arrival to its answer, the wait for a worker included.
	Timeout time.Duration
	// StartTimeout is the time that a process may take from its start until it reads its first query, which is not
	// charged to that query; see the package comment. Less than Timeout means Timeout.
	StartTimeout time.Duration
	// Processes is the largest number of workers, at least 1. "Blocking" mode is Processes = 1.
	Processes int
	// Queue is how many queries may wait for a worker, those not counted for which a worker can be started.
	Queue int
	// PTY puts the script on a pseudo-terminal (raw, no echo), so that a script which prints without flushing is
	// heard. It is ignored with Ejabberd, whose frames go over pipes always.
	PTY bool
	// Logger gets what no caller is told: what workers write to standard error (debug), workers that end without
	// an answer (warn). Nil discards it.
	Logger *slog.Logger
	// Trace, if set, is called with every step of every exchange, for diagnosis. Passwords are masked. It is called
	// from several goroutines and must not block.
	Trace func(Event)
}

func (c *Config) check() error {
	switch {
	case len(c.Command) == 0 || c.Command[0] == "":
		return fmt.Errorf("%w: no command", ErrConfig)
	case !strings.Contains(c.Command[0], "/"):
		return fmt.Errorf("%w: command %q is not a path", ErrConfig, c.Command[0])
	case slices.ContainsFunc(c.Command, hasNUL) || slices.ContainsFunc(c.Env, hasNUL) || hasNUL(c.Dir):
		return fmt.Errorf("%w: command, directory or environment holds a NUL", ErrConfig)
	case c.Protocol != Generic && c.Protocol != Ejabberd:
		return fmt.Errorf("%w: protocol %d", ErrConfig, c.Protocol)
	case c.Timeout <= 0:
		return fmt.Errorf("%w: timeout %v; it has to be above zero", ErrConfig, c.Timeout)
	case c.Processes < 1:
		return fmt.Errorf("%w: %d processes; at least 1 is needed", ErrConfig, c.Processes)
	case c.Queue < 0:
		return fmt.Errorf("%w: queue of %d", ErrConfig, c.Queue)
	}
	return nil
}

// settings is a Config in the form in which a pool works with it. It is never written after it was made, so whoever
// has one may read it without a lock.
type settings struct {
	Config
	log *slog.Logger // Logger, or one that discards, with the host's name
}

// newSettings takes over cfg, which passed check.
func newSettings(cfg Config) *settings {
	cfg.Command = slices.Clone(cfg.Command)
	cfg.Files = slices.Clone(cfg.Files)
	if cfg.Env = slices.Clone(cfg.Env); cfg.Env == nil {
		cfg.Env = Environ()
	}
	cfg.PTY = cfg.PTY && cfg.Protocol == Generic
	cfg.StartTimeout = max(cfg.StartTimeout, cfg.Timeout)
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &settings{Config: cfg, log: log.With("host", cfg.Name)}
}

// sameProcess reports whether the processes of s and other are started alike.
func (s *settings) sameProcess(other *settings) bool {
	return s.Dir == other.Dir && s.Protocol == other.Protocol && s.PTY == other.PTY &&
		slices.Equal(s.Command, other.Command) && slices.Equal(s.Files, other.Files) && slices.Equal(s.Env, other.Env)
}

func hasNUL(s string) bool { return strings.IndexByte(s, 0) >= 0 }

// Environ returns the daemon's environment as a script may see it: without what systemd gives to the daemon alone
// (credentials, notify and listen sockets, watchdog). Everything else stays, since old scripts count on PATH, HOME
// and whatever the operator set for them.
func Environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "FDSTORE", "MAINPID":
			return true
		}
		return strings.HasPrefix(name, "LISTEN_") || strings.HasPrefix(name, "WATCHDOG_")
	})
}

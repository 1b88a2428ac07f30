package extauth

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/time/rate"
)

const (
	maxStderrLine = 400 // bytes of a line that are kept
	maxEscaped    = 6   // bytes in which a script may show one of a password: \u0022, &quot;
	stderrSecrets = 4   // passwords that are masked: a line may be read when the next query is on its way
	stderrTail    = 3   // lines that are kept for the error of a worker that dies
	stderrPerSec  = 10  // lines a second that a worker may log, after a burst
	stderrBurst   = 50
)

// stderrLog drains a worker's standard error, so that the script never blocks on it, and logs it line by line. What
// a script writes there never takes part in a verdict (defect D2).
type stderrLog struct {
	log    func() *slog.Logger // asked for every line, since a reload may change it
	trace  func(line []byte)   // gets every line, masked
	worker int                 // its number and process, for the log
	pid    int
	limit  *rate.Limiter

	mu      sync.Mutex         // guards the fields below
	tail    [stderrTail][]byte // a ring of the last lines, without secrets
	lines   int                // lines so far
	secrets [stderrSecrets]hidden
	asked   int // queries so far; secrets is a ring of their passwords
}

func newStderrLog(w *worker) *stderrLog {
	p := w.pool
	return &stderrLog{
		log: func() *slog.Logger { return p.settings.Load().log },
		trace: func(line []byte) {
			if p.settings.Load().Trace != nil {
				p.trace(w, Event{Kind: EventStderr, Data: []byte(clean(line))})
			}
		},
		worker: w.id, pid: w.pid, limit: rate.NewLimiter(stderrPerSec, stderrBurst),
	}
}

// hide makes lines that are read from now on show a mask where they hold secret, until some queries later.
func (s *stderrLog) hide(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[s.asked%stderrSecrets] = hidden{text: secret}
	s.asked++
}

// drain reads f until its end or its deadline. A line is shown up to maxStderrLine bytes.
func (s *stderrLog) drain(f *os.File) {
	var (
		buf     [1024]byte
		line    []byte
		dropped int
	)
	for {
		n, err := f.Read(buf[:])
		for _, c := range buf[:n] {
			switch {
			case c == '\n':
				dropped = s.add(line, dropped)
				line = line[:0]
			case len(line) < maxStderrLine+maxEscaped*maxQueryBytes: // so that no password is cut before it is masked
				line = append(line, c)
			}
		}
		if err != nil {
			dropped = s.add(line, dropped)
			if dropped > 0 {
				s.log().Debug("auth script stderr: lines dropped", "worker", s.worker, "pid", s.pid, "lines", dropped)
			}
			return
		}
	}
}

// add keeps and logs one line; it returns how many lines were not logged since the last that was.
func (s *stderrLog) add(raw []byte, dropped int) int {
	if len(raw) == 0 {
		return dropped
	}
	s.mu.Lock()
	raw = masked(raw, s.secrets[:])
	slot := &s.tail[s.lines%stderrTail]
	*slot = append((*slot)[:0], raw...)
	s.lines++
	s.mu.Unlock()
	s.trace(raw)
	log := s.log()
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return 0
	}
	if !s.limit.Allow() {
		return dropped + 1
	}
	log.Debug("auth script stderr", "worker", s.worker, "pid", s.pid, "line", clean(raw), "dropped_before", dropped)
	return 0
}

// suffix returns the last lines as the end of an error text, or nothing.
func (s *stderrLog) suffix() string {
	if last := s.last(); last != "" {
		return "; stderr: " + last
	}
	return ""
}

// last returns the last lines in one.
func (s *stderrLog) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var shown []string
	for i := max(0, s.lines-stderrTail); i < s.lines; i++ {
		shown = append(shown, clean(s.tail[i%stderrTail]))
	}
	return strings.Join(shown, " | ")
}

// clean makes a line of a script safe to show: cut, control characters and bad UTF-8 escaped, quotes as they are.
func clean(raw []byte) string {
	line := strings.TrimRight(string(raw), "\r\n")
	line = line[:min(len(line), maxStderrLine)]
	q := strconv.Quote(line)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

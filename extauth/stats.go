package extauth

import (
	"slices"
	"time"
)

// Stats is a pool at one moment. Restarts and Timeouts count from the pool's start.
type Stats struct {
	Processes int // Config.Processes, the most workers that the pool starts
	Size      int // workers that are alive; more than Processes while those of before a reload finish
	Busy      int // workers that have a query
	Queued    int // queries that wait for a worker
	Restarts  int // workers that ended or had to be killed, those not counted that a reload ended
	Timeouts  int // queries whose deadline passed

	// Fault is why the last worker could not be started, ended or was killed; nil when one has answered since.
	Fault error
	// Workers are those that are alive, by their number.
	Workers []WorkerStats
}

// WorkerStats is a worker at one moment.
type WorkerStats struct {
	ID      int       // its number, counted from 1 through the life of the pool
	PID     int       // its process
	Busy    bool      // it has a query
	Old     bool      // it was started before the last reload of the script; it ends when it has answered
	Born    time.Time // when it was started
	Since   time.Time // when it got its query if it is busy, or else since when it has been idle
	Answers int       // queries answered
}

// Stats returns the pool's state. It never blocks for long. The caller owns what it gets.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{
		Processes: p.settings.Load().Processes, Busy: p.busy, Queued: p.waiters.Len(),
		Restarts: p.restarts, Timeouts: p.timeouts, Fault: p.gen.lastErr,
	}
	for w := range p.workers {
		if w.retired || w.gen.n > p.gen.n { // ended, or on trial
			continue
		}
		since := w.born
		switch {
		case w.busy:
			since = w.taken
		case w.answers > 0:
			since = w.freed
		}
		s.Workers = append(s.Workers, WorkerStats{
			ID: w.id, PID: w.pid, Busy: w.busy, Old: w.gen != p.gen, Born: w.born, Since: since, Answers: w.answers,
		})
	}
	slices.SortFunc(s.Workers, func(a, b WorkerStats) int { return a.ID - b.ID })
	s.Size = len(s.Workers)
	return s
}

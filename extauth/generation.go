package extauth

import "time"

// generation is one script as a pool knows it: what its processes are started from, and what was learned about them.
// A reload that asks for other processes begins a new one, so nothing that was learned about the old script is held
// against the new one, nor the other way round. The processes of an old generation answer what they were asked, and
// end. The present one is Pool.gen.
type generation struct {
	*settings         // those it began with; of these, only what a process is started from is of interest
	n         int     // counted from 1 through the life of the pool
	files     []stamp // the files of the command, as they were when it began

	// All below is under Pool.mu.
	live         int           // workers that are not retired
	prestart     bool          // start a worker although nobody waits for one
	deaths       int           // processes in a row that ended without any answer
	notUntil     time.Time     // no start before this: the back-off
	lastErr      error         // why the last worker could not be started or ended
	warmAt       time.Time     // when its first worker was up, or failed to come up
	suspectUntil time.Time     // the script said something unasked not long ago
	typical      time.Duration // moving average of what the script takes
}

// newGeneration looks at the files of the script.
func newGeneration(n int, s *settings) *generation {
	return &generation{settings: s, n: n, files: stampFiles(&s.Config)}
}

// serves reports whether the generation's processes are such as s asks for, and their files are what they were.
func (g *generation) serves(s *settings) bool {
	return g.sameProcess(s) && sameStamps(g.files, stampFiles(&s.Config))
}

// answered notes that w, one of its workers, has answered. The caller holds Pool.mu.
func (g *generation) answered(w *worker) {
	g.deaths, g.notUntil, g.lastErr = 0, time.Time{}, nil
	switch {
	case w.answers == 1: // its time is mostly that of the start
	case g.typical == 0:
		g.typical = w.thought
	default:
		g.typical += (w.thought - g.typical) / 8
	}
}

package config

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Times of a Watcher.
const (
	settleTime = 100 * time.Millisecond // without a change, until it is told
	latestTime = time.Second            // after the first change it is told in any case
	minPace    = 5 * time.Millisecond   // between two looks at the files
	maxPace    = 50 * time.Millisecond
	lookTime   = 30 * time.Second // between two looks without any event: network file systems tell nothing
	pollTime   = 2 * time.Second  // the same where the kernel does not tell everything
)

// Watcher tells when the files that a config came from have changed, so that it is time to Load again.
//
// It learns of events from the kernel (inotify), and takes them as a hint only: what counts is whether the files differ
// from what they were. So it is all the same whether a file is written in place, replaced, or reached through a link that
// is turned elsewhere, and other files in the same directory do not matter, however busy they are.
//
// The loop to use it is: Load, Watch the Sources of what Load returned (a Config or an Error), wait for Changed, again.
type Watcher struct {
	logger  *slog.Logger
	dirs    *dirWatch     // nil without inotify
	every   time.Duration // between two looks without an event
	changed chan struct{}
	wake    chan struct{} // of capacity 1: next was set
	stop    func()
	stopped chan struct{} // closed by stop
	done    chan struct{} // closed when the goroutine has ended

	mu   sync.Mutex // guards next
	next *Sources   // what Watch was given last, until the goroutine takes it
}

// NewWatcher starts a Watcher, which watches nothing yet. Where the kernel gives no inotify instance, as when
// fs.inotify.max_user_instances are in use, it looks at the files every 2 s, and warns once. Close ends it.
func NewWatcher(logger *slog.Logger) *Watcher {
	return openWatcher(logger, fsnotify.NewWatcher, lookTime)
}

func openWatcher(logger *slog.Logger, open func() (*fsnotify.Watcher, error), every time.Duration) *Watcher {
	notify, err := open()
	if err != nil {
		logger.Warn("config: changes of files are noticed late: the system cannot watch them (see fs.inotify.max_user_instances)",
			"interval", pollTime, "cause", err)
		return startWatcher(logger, nil, pollTime)
	}
	return startWatcher(logger, newDirWatch(notify), every)
}

func startWatcher(logger *slog.Logger, dirs *dirWatch, every time.Duration) *Watcher {
	w := &Watcher{
		logger:  logger,
		dirs:    dirs,
		every:   every,
		changed: make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
		done:    make(chan struct{}),
	}
	w.stop = sync.OnceFunc(func() { close(w.stopped) })
	go w.run()
	return w
}

// Watch replaces what is watched. It may be called by any goroutine, also after Close, and waits for nothing but, in
// the second case that follows, the file system.
//
// Changes count from the moment at which Load looked at the files; if there were any since, Changed tells it 100 ms from
// now. In Sources that are not from Load, changes count from the call. A change that was not yet told is forgotten,
// unless it is one for the new Sources as well.
func (w *Watcher) Watch(s Sources) {
	if s.seen.files == nil {
		s.seen = s.take()
	}
	w.mu.Lock()
	w.next = &s
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Changed has a value once something changed and then nothing for 100 ms, at the latest 1 s after the first change. After
// that changes count from then on, whether or not Watch is called. It is never closed.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// Close ends the Watcher and waits for its goroutines. It may be called more than once.
func (w *Watcher) Close() {
	w.stop()
	<-w.done
}

// watching is the state of a Watcher's goroutine.
type watching struct {
	*Watcher
	sources Sources
	base    fingerprint // what the files were when Load looked at them, or when their change was told
	now     fingerprint // what they were at the last look
	first   time.Time   // of the changes from base to now; zero when they are equal
	last    time.Time   // of these changes
	lookAt  time.Time   // when to look next because of an event; zero when there was none
	pace    time.Duration
	partial bool // there is a directory that the kernel does not tell about
	warned  bool // of that
}

// run is the Watcher's goroutine.
func (w *Watcher) run() {
	defer close(w.done)
	s := &watching{Watcher: w, pace: minPace}
	var hit chan struct{}
	if w.dirs != nil {
		defer w.dirs.close()
		hit = w.dirs.hit
	}
	timer := time.NewTimer(w.every)
	defer timer.Stop()
	for {
		select {
		case <-w.stopped:
			return
		case <-w.wake:
			s.adopt()
		case <-hit:
			if s.lookAt.IsZero() {
				s.lookAt = time.Now().Add(s.pace)
			}
		case <-timer.C:
			s.look()
			if !s.first.IsZero() && !time.Now().Before(s.due()) {
				s.tell()
			}
		}
		timer.Reset(time.Until(s.nextLook()))
	}
}

// due is when to tell the changes that there are.
func (s *watching) due() time.Time {
	settled, latest := s.last.Add(settleTime), s.first.Add(latestTime)
	if latest.Before(settled) {
		return latest
	}
	return settled
}

// nextLook is when to look at the files: soon after an event, before telling, and now and then.
func (s *watching) nextLook() time.Time {
	every := s.every
	if s.partial {
		every = min(every, pollTime)
	}
	next := time.Now().Add(every)
	if !s.lookAt.IsZero() && s.lookAt.Before(next) {
		next = s.lookAt
	}
	if due := s.due(); !s.first.IsZero() && due.Before(next) {
		next = due
	}
	return next
}

// adopt begins with new Sources.
func (s *watching) adopt() {
	s.mu.Lock()
	s.sources = *s.next
	s.mu.Unlock()
	select {
	case <-s.changed: // whoever called Watch knows already
	default:
	}
	s.follow()
	s.now = s.sources.take()
	s.base = s.sources.seen.over(s.now)
	s.first, s.last = time.Time{}, time.Time{}
	s.note(time.Now(), !s.base.equal(s.now))
}

// follow has the kernel tell of the directories as they are now.
func (s *watching) follow() {
	if s.dirs == nil {
		return
	}
	err := s.dirs.follow(s.sources)
	s.partial = err != nil
	if err == nil || s.warned {
		return
	}
	s.warned = true
	level := slog.LevelWarn
	if errors.Is(err, fs.ErrPermission) {
		level = slog.LevelInfo // a directory that may be entered but not listed, on the way to a script, is usual
	}
	s.logger.Log(context.Background(), level, "config: changes of some files are noticed late: the system does not let a directory be watched",
		"interval", pollTime, "cause", err)
}

// look looks at the files, and notes whether they differ from the last time.
func (s *watching) look() {
	began := time.Now()
	at := began
	if s.dirs != nil {
		if event := s.dirs.take(); !event.IsZero() {
			at = event
		}
	}
	s.lookAt = time.Time{}
	s.follow() // first, so that what comes after the look is told
	now := s.sources.take()
	if !now.equal(s.now) {
		s.now = now
		s.note(at, !now.equal(s.base))
	}
	// Looking takes no more than about a tenth of the time, however many files and events there are.
	s.pace = min(max(minPace, 10*time.Since(began)), maxPace)
}

// note notes a change. When it only undid the one before, there is nothing to tell.
func (s *watching) note(at time.Time, differs bool) {
	switch {
	case !differs:
		s.first, s.last = time.Time{}, time.Time{}
		return
	case s.first.IsZero():
		s.first = at
	}
	s.last = at
}

// tell tells that there are changes.
func (s *watching) tell() {
	s.base = s.now
	s.first, s.last = time.Time{}, time.Time{}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// dirWatch has the kernel tell when something of interest happens in the directories of a dirTree, or to its files.
//
// It has two sides, which never wait for each other: follow is called by the Watcher's goroutine, and a goroutine of its
// own reads the events. They must not be one: fsnotify may hold the lock that follow needs while it sends an error.
type dirWatch struct {
	notify  *fsnotify.Watcher
	done    chan struct{}    // closed when the reader has ended
	watched map[string]stamp // by path: the identity of what is watched there
	hit     chan struct{}    // of capacity 1: something happened since the last call of take

	mu   sync.Mutex // guards what follows
	tree dirTree
	last time.Time // of the last event of interest; zero when there was none since the last call of take
	gone []string  // what was watched, and is not any more at this place
	lost bool      // there were events that nobody knows
}

func newDirWatch(notify *fsnotify.Watcher) *dirWatch {
	d := &dirWatch{
		notify:  notify,
		done:    make(chan struct{}),
		watched: make(map[string]stamp),
		hit:     make(chan struct{}, 1),
	}
	go d.read()
	return d
}

// close ends the watching, and waits for it.
func (d *dirWatch) close() {
	_ = d.notify.Close() // its only error is that of closing a descriptor
	<-d.done
}

// read passes over the noise. It ends when the events do.
func (d *dirWatch) read() {
	defer close(d.done)
	events, errs := d.notify.Events, d.notify.Errors
	for events != nil || errs != nil {
		select {
		case event, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			d.event(filepath.Clean(event.Name), event.Op)
		case _, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			// The queue has overflown, or whatever: nobody knows what was missed.
			d.mu.Lock()
			d.lost = true
			d.happened()
			d.mu.Unlock()
		}
	}
}

// comesOrGoes are the events by which an entry of a directory appears, or goes.
const comesOrGoes = fsnotify.Create | fsnotify.Remove | fsnotify.Rename

func (d *dirWatch) event(path string, op fsnotify.Op) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, watched := d.tree[path]; watched {
		if op.Has(fsnotify.Remove | fsnotify.Rename) {
			d.gone = append(d.gone, path)
		}
		d.happened()
	} else if dir := d.tree[filepath.Dir(path)]; dir != nil && dir.wants(filepath.Base(path), !op.Has(comesOrGoes)) {
		d.happened()
	}
}

// happened notes an event of interest. The caller holds the lock.
func (d *dirWatch) happened() {
	d.last = time.Now()
	select {
	case d.hit <- struct{}{}:
	default:
	}
}

// take returns when the last event of interest was, and forgets it; the zero time when there was none.
func (d *dirWatch) take() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := d.last
	d.last = time.Time{}
	return last
}

// follow watches the directories of the Sources as they are now, and only these. When it returns, whatever happens in
// them is told. An error says that some directory cannot be watched; it is the first one, the others are.
func (d *dirWatch) follow(s Sources) error {
	tree := s.directories()
	added, failed := d.watch(tree)
	// What appears between looking at a directory and watching it would be missed: so look again, until that finds
	// nothing else, or, where somebody plays with directories all the time, the next event.
	for range 3 {
		if !added {
			break
		}
		added, failed = d.watch(s.directories())
	}
	return failed
}

// watch has the kernel watch what is in a tree, and nothing else. It says whether there is anything in it that was not
// watched before.
func (d *dirWatch) watch(tree dirTree) (added bool, failed error) {
	d.mu.Lock()
	d.tree = tree
	gone, lost := d.gone, d.lost
	d.gone, d.lost = nil, false
	d.mu.Unlock()
	for _, path := range gone {
		d.remove(path)
	}
	d.forgetUnmounted()
	for path := range d.watched {
		if lost || tree[path] == nil {
			d.remove(path)
		}
	}
	for path := range tree {
		now := stampFile(path).identity()
		was, watched := d.watched[path]
		if watched && was == now {
			continue
		}
		if watched { // it is another one now
			d.remove(path)
		}
		err := d.notify.Add(path)
		switch {
		case err == nil:
			d.watched[path] = now
			added = true
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, fs.ErrPermission) && !now.mode.IsDir():
			// A script that may be run, but not read, is usual. Its directory tells nearly everything.
		case failed != nil:
		case errors.Is(err, syscall.ENOSPC):
			failed = fmt.Errorf("watch %s: no watches are left (see fs.inotify.max_user_watches): %w", path, err)
		default:
			failed = &os.PathError{Op: "watch", Path: path, Err: err}
		}
	}
	return added, failed
}

// remove ends the watching of a path, and of its other names: the kernel has one watch for all of them, and fsnotify knows it
// by one. It must not keep a name that is not in watched: to add that again, for another file, confuses it.
func (d *dirWatch) remove(path string) {
	what := d.watched[path]
	_ = d.notify.Remove(path) // it may have gone by itself
	maps.DeleteFunc(d.watched, func(other string, is stamp) bool {
		if is == what {
			_ = d.notify.Remove(other)
		}
		return is == what
	})
}

// forgetUnmounted notes what the kernel does not watch any more without a word: what was on a file system that is gone from
// here. What is mounted next may have the same identity.
func (d *dirWatch) forgetUnmounted() {
	told := make(map[stamp]bool)
	for _, path := range d.notify.WatchList() {
		told[d.watched[path]] = true
	}
	maps.DeleteFunc(d.watched, func(_ string, what stamp) bool { return !told[what] })
}

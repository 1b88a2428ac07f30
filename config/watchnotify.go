package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// dirWatch has the kernel tell when something of interest happens in the directories of a dirTree.
//
// It has two sides, which never wait for each other: follow is called by the Watcher's goroutine, and a goroutine of its
// own reads the events. They must not be one: fsnotify may hold the lock that follow needs while it sends an error.
type dirWatch struct {
	notify  *fsnotify.Watcher
	done    chan struct{} // closed when the reader has ended
	watched map[string]stamp
	hit     chan struct{} // of capacity 1: something happened since the last call of take

	mu   sync.Mutex // guards what follows
	tree dirTree
	last time.Time // of the last event of interest; zero when there was none since the last call of take
	gone []string  // directories that were watched, and are not any more at this place
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
	if _, dir := d.tree[path]; dir {
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

// watch has the kernel watch the directories of a tree, and no others. It says whether there are any among them that were
// not watched before.
func (d *dirWatch) watch(tree dirTree) (added bool, failed error) {
	d.mu.Lock()
	d.tree = tree
	gone := d.gone
	d.gone = nil
	d.mu.Unlock()
	for _, dir := range gone {
		delete(d.watched, dir)
	}
	for dir := range d.watched {
		if tree[dir] == nil {
			d.remove(dir)
		}
	}
	for dir := range tree {
		now := stampFile(dir)
		was, watched := d.watched[dir]
		if watched && was == now {
			continue
		}
		if watched { // it is another directory now
			d.remove(dir)
		}
		if err := d.notify.Add(dir); err == nil {
			d.watched[dir] = now
			added = true
		} else if failed == nil && !errors.Is(err, fs.ErrNotExist) {
			failed = &os.PathError{Op: "watch", Path: dir, Err: err}
		}
	}
	return added, failed
}

func (d *dirWatch) remove(dir string) {
	delete(d.watched, dir)
	_ = d.notify.Remove(dir) // it may have gone by itself
}

package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// TestWatcher_overflow: when the kernel could not tell everything, the files are looked at.
func TestWatcher_overflow(t *testing.T) {
	t.Parallel()
	w := watchConfig(t)
	w.wantQuiet()
	w.deafen()
	w.write("conf.d/a.lua", "x = 8\n")
	w.wantQuiet()
	w.dirs.notify.Errors <- fsnotify.ErrEventOverflow
	w.wantChange()
}

// TestWatcher_overflown: among the events that the kernel could not tell may be that a directory is gone. The next of that
// name may even have its inode.
func TestWatcher_overflown(t *testing.T) {
	t.Parallel()
	w := watchConfig(t)
	w.wantQuiet()
	limit, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	w.do(err)
	events, err := strconv.Atoi(strings.TrimSpace(string(limit)))
	w.do(err)
	w.dirs.mu.Lock()               // so that nobody reads them
	for n := range events + 5000 { // what was read already is not in the queue
		w.do(os.Chmod(w.path([]string{"auth.sh", "prosody.cfg.lua"}[n%2]), 0o755)) // the same one again would not count
	}
	w.do(os.RemoveAll(w.path("conf.d")))
	w.do(os.Mkdir(w.path("conf.d"), 0o755))
	w.write("conf.d/b.lua", "")
	w.dirs.mu.Unlock()
	w.wantChange()
	w.wantQuiet()
	w.write("conf.d/c.lua", "")
	w.wantChange()
}

// TestWatcher_unmounted: where the kernel has ended the watching without a word, as on a file system that was unmounted and
// mounted again, it begins anew with the next look.
func TestWatcher_unmounted(t *testing.T) {
	t.Parallel()
	w := watchConfig(t)
	w.wantQuiet()
	w.deafen()
	w.write("conf.d/a.lua", "x = 8\n")
	w.load() // looks
	w.wantQuiet()
	w.write("conf.d/a.lua", "x = 99\n")
	w.wantChange()
}

// deafen has the kernel tell nothing, as with a network file system.
func (w *watched) deafen() {
	w.t.Helper()
	for _, dir := range w.dirs.notify.WatchList() {
		w.do(w.dirs.notify.Remove(dir))
	}
}

// TestWatcher_silentFileSystem: where no event comes, the files are looked at now and then.
func TestWatcher_silentFileSystem(t *testing.T) {
	t.Parallel()
	w := watchConfig(t)
	w.Watcher.Close()
	w.Watcher = openWatcher(slog.New(slog.DiscardHandler), fsnotify.NewWatcher, 300*time.Millisecond)
	t.Cleanup(w.Close)
	w.load()
	w.wantQuiet()
	w.deafen()
	w.write("conf.d/a.lua", "x = 8\n")
	w.wantChange()
}

// TestWatcher_withoutInotify looks at the files itself, and says so.
func TestWatcher_withoutInotify(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	w := watchConfig(t)
	w.Watcher.Close()
	none := func() (*fsnotify.Watcher, error) { return nil, syscall.EMFILE }
	w.Watcher = openWatcher(slog.New(slog.NewTextHandler(&log, nil)), none, time.Hour)
	defer w.Close()
	w.load()
	w.wantQuiet()
	w.write("conf.d/a.lua", "x = 9\n")
	w.wantChange()
	w.Close()
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "too many open files") {
		t.Errorf("log %q", got)
	}
}

// TestWatcher_unwatchable: where the kernel refuses, the files are looked at, and that is said once.
func TestWatcher_unwatchable(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	w := watchConfig(t)
	w.Watcher.Close()
	w.Watcher = openWatcher(slog.New(slog.NewTextHandler(&log, nil)), fsnotify.NewWatcher, time.Hour)
	defer w.Close()
	w.do(w.dirs.notify.Close())
	w.load()
	w.wantQuiet()
	w.write("conf.d/a.lua", "x = 9\n")
	w.wantChange()
	w.Close()
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "does not let") {
		t.Errorf("log %q", got)
	}
}

// TestDirWatch_names: what has several names is not watched by any of them once all are gone, nor does a name that then
// belongs to another file end the daemon.
func TestDirWatch_names(t *testing.T) {
	for range 10 { // the names come in any order
		dir := writeFiles(t, "a", "1", "c", "2")
		path := func(name string) string { return filepath.Join(dir, name) }
		notify, err := fsnotify.NewWatcher()
		if err != nil {
			t.Fatal(err)
		}
		d := newDirWatch(notify)
		defer d.close()
		follow := func(files ...string) {
			t.Helper()
			var s Sources
			for _, name := range files {
				s.Files = append(s.Files, path(name))
			}
			if err := d.follow(s); err != nil {
				t.Fatal(err)
			}
		}
		follow("a", "c")
		if err := os.Link(path("a"), path("b")); err != nil {
			t.Fatal(err)
		}
		follow("a", "b", "c")
		if err := os.Link(path("c"), path("new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path("new"), path("a")); err != nil {
			t.Fatal(err)
		}
		follow("a", "c")
		follow("c")
		follow("b", "c")
		follow()
		if left := notify.WatchList(); len(left) > 0 {
			t.Errorf("still watched: %q", left)
		}
	}
}

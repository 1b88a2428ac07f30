package config

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// watched is a Watcher over what a config in a directory comes from.
type watched struct {
	*Watcher
	t    *testing.T
	dir  string
	step int
}

// watchConfig makes a config with an include directory, a certificates directory and a script, and watches it.
func watchConfig(t *testing.T, more ...string) *watched {
	t.Helper()
	dir := writeFiles(t, append([]string{"prosody.cfg.lua", "Include 'conf.d/*.lua'\n" + external, "auth.sh", "#!/bin/sh\n",
		"conf.d/a.lua", "x = 1\n", "certs/README", ""}, more...)...)
	w := &watched{Watcher: NewWatcher(slog.New(slog.DiscardHandler)), t: t, dir: dir}
	t.Cleanup(w.Close)
	w.load()
	return w
}

// load does what a daemon does at the start and after each change.
func (w *watched) load() {
	w.t.Helper()
	c, _, err := Load(w.path("prosody.cfg.lua"))
	var s Sources
	if err != nil {
		s = err.(*Error).Sources //nolint:errorlint // Load says that it is one
	} else {
		s = c.Sources
	}
	w.Watch(s)
}

func (w *watched) path(name string) string { return filepath.Join(w.dir, name) }

// do checks the error of a change.
func (w *watched) do(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) write(name, text string) {
	w.t.Helper()
	w.do(os.WriteFile(w.path(name), []byte(text), 0o644))
}

// replace writes a file as editors do.
func (w *watched) replace(name, text string) {
	w.t.Helper()
	w.write(".new", text)
	w.do(os.Rename(w.path(".new"), w.path(name)))
}

// wantChange waits until a change is told, and loads. It returns how long that took.
func (w *watched) wantChange() time.Duration {
	w.t.Helper()
	began := time.Now()
	select {
	case <-w.Changed():
	case <-time.After(10 * time.Second):
		w.t.Fatalf("step %d: the change is not told", w.step)
	}
	took := time.Since(began)
	w.load()
	return took
}

// wantQuiet says that nothing is told for longer than a change takes.
func (w *watched) wantQuiet() {
	w.t.Helper()
	select {
	case <-w.Changed():
		w.t.Fatalf("step %d: a change is told that there was not", w.step)
	case <-time.After(2 * settleTime):
	}
}

// TestWatcher_changes does each change, waits until it is told and all is quiet, and goes on with the next.
func TestWatcher_changes(t *testing.T) {
	link := func(w *watched, target, name string) {
		w.t.Helper()
		w.do(os.Symlink(target, w.path(".link")))
		w.do(os.Rename(w.path(".link"), w.path(name)))
	}
	tests := []struct {
		name  string
		files []string
		steps []func(w *watched)
	}{
		{"written in place", nil, []func(*watched){
			func(w *watched) { w.write("prosody.cfg.lua", external) },
			func(w *watched) { w.write("prosody.cfg.lua", external+"x = 1") },
			func(w *watched) { w.write("auth.sh", "#!/bin/sh\nexit 1\n") },
		}},
		{"broken and mended", nil, []func(*watched){
			func(w *watched) { w.write("prosody.cfg.lua", "x = =") },
			func(w *watched) { w.write("prosody.cfg.lua", external) },
		}},
		{"written and renamed", nil, []func(*watched){
			func(w *watched) { w.replace("prosody.cfg.lua", external) },
			func(w *watched) { w.replace("prosody.cfg.lua", external+"x = 1") },
			func(w *watched) { w.replace("auth.sh", "#!/bin/sh\nexit 1\n") },
		}},
		{"removed and made anew", nil, []func(*watched){
			func(w *watched) { w.do(os.Remove(w.path("prosody.cfg.lua"))) },
			func(w *watched) { w.write("prosody.cfg.lua", external) },
			func(w *watched) { w.do(os.Remove(w.path("prosody.cfg.lua"))) },
			func(w *watched) { w.write("prosody.cfg.lua", external) },
		}},
		{"permissions", nil, []func(*watched){
			func(w *watched) { w.do(os.Chmod(w.path("auth.sh"), 0o600)) },
			func(w *watched) { w.do(os.Chmod(w.path("auth.sh"), 0o700)) },
		}},
		{"wildcard", nil, []func(*watched){
			func(w *watched) { w.write("conf.d/b.lua", "") },
			func(w *watched) { w.write("conf.d/b.lua", "y = 1") },
			func(w *watched) { w.do(os.Rename(w.path("conf.d/b.lua"), w.path("conf.d/b.lua.off"))) },
			func(w *watched) { w.do(os.Remove(w.path("conf.d/a.lua"))) },
		}},
		{"certificate that appears", nil, []func(*watched){
			func(w *watched) { w.do(os.Mkdir(w.path("certs/a.example"), 0o755)) },
			func(w *watched) { w.write("certs/a.example/privkey.pem", "") },
			func(w *watched) { w.write("certs/a.crt", "") },
		}},
		{"directory removed and made anew", nil, []func(*watched){
			func(w *watched) { w.do(os.RemoveAll(w.path("conf.d"))) },
			func(w *watched) { w.do(os.Mkdir(w.path("conf.d"), 0o755)) },
			func(w *watched) { w.write("conf.d/b.lua", "") },
			func(w *watched) {
				w.do(os.RemoveAll(w.path("conf.d")))
				w.do(os.Mkdir(w.path("conf.d"), 0o755))
			},
			func(w *watched) { w.write("conf.d/c.lua", "") },
		}},
		{"directory moved away and back", nil, []func(*watched){
			func(w *watched) { w.do(os.Rename(w.path("conf.d"), w.path("away"))) },
			func(w *watched) { w.do(os.Rename(w.path("away"), w.path("conf.d"))) },
			func(w *watched) { w.write("conf.d/a.lua", "x = 2") },
			func(w *watched) { w.do(os.Rename(w.dir, w.dir+".away")) },
			func(w *watched) { w.do(os.Rename(w.dir+".away", w.dir)) },
			func(w *watched) { w.write("conf.d/a.lua", "x = 33") },
			func(w *watched) { // at once, so that it is the same when anybody looks, but the kernel watches it no more
				w.do(os.Rename(w.path("conf.d"), w.path("away")))
				w.do(os.Rename(w.path("away"), w.path("conf.d")))
				w.wantQuiet()
				w.write("conf.d/a.lua", "x = 444")
			},
		}},
		{"directory that did not exist", []string{"prosody.cfg.lua", external + "certificate = 'deep/er'"}, []func(*watched){
			func(w *watched) { w.do(os.MkdirAll(w.path("deep/er"), 0o755)) },
			func(w *watched) { w.write("deep/er/a.example.crt", "") },
		}},
		{"volume of Kubernetes", []string{"..1/config", external, "..2/config", external + "x = 1", "..3/config", external + "x = 22"}, []func(*watched){
			func(w *watched) {
				link(w, "..1", "..data")
				link(w, "..data/config", "prosody.cfg.lua")
			},
			func(w *watched) { link(w, "..2", "..data") },
			func(w *watched) {
				link(w, "..3", "..data")
				w.do(os.RemoveAll(w.path("..1")))
				w.do(os.RemoveAll(w.path("..2")))
			},
		}},
		{"links", []string{"real/x.lua", "x = 3", "real/y.lua", "x = 44"}, []func(*watched){
			func(w *watched) { link(w, "../real/x.lua", "conf.d/a.lua") },
			func(w *watched) { w.write("real/x.lua", "x = 5") },
			func(w *watched) { link(w, w.path("real/y.lua"), "conf.d/a.lua") },
			func(w *watched) { w.replace("real/y.lua", "x = 6") },
			func(w *watched) { link(w, "a.lua", "conf.d/a.lua") }, // to itself
			func(w *watched) { w.replace("conf.d/a.lua", "") },
			func(w *watched) { link(w, "../real/c.crt", "certs/c.crt") },
			func(w *watched) { w.write("real/c.crt", "not yet a certificate") },
		}},
		{"written by another name", []string{"conf.d/b.lua", "x = 5\n"}, []func(*watched){
			func(w *watched) {
				w.do(os.Mkdir(w.path("other"), 0o755))
				w.do(os.Link(w.path("conf.d/a.lua"), w.path("other/a")))
			},
			func(w *watched) { w.write("other/a", "x = 2\n") },
			func(w *watched) { // two names in what is watched, of which one goes
				w.do(os.Remove(w.path("conf.d/b.lua")))
				w.do(os.Link(w.path("conf.d/a.lua"), w.path("conf.d/b.lua")))
			},
			func(w *watched) { w.do(os.Remove(w.path("conf.d/b.lua"))) },
			func(w *watched) { w.write("other/a", "x = 33\n") },
			func(w *watched) { w.replace("conf.d/a.lua", "x = 4\n") },
			func(w *watched) {
				w.write("other/a", "x = 55\n")
				w.wantQuiet()
				w.write("conf.d/a.lua", "x = 66\n")
			},
		}},
		{"script that an interpreter is given", []string{"prosody.cfg.lua", strings.Replace(external, "'./auth.sh'", "{ '/bin/sh', './check' }", 1), "check", "#!/bin/sh\n"}, []func(*watched){
			func(w *watched) { w.do(os.Remove(w.path("check"))) },
			func(w *watched) { w.write("check", "#!/bin/sh\n") },
			func(w *watched) { w.write("check", "#!/bin/sh\nexit\n") },
		}},
		{"directory that is a link", []string{"one/a.lua", "x = 3", "two/a.lua", "x = 3"}, []func(*watched){
			func(w *watched) {
				w.do(os.RemoveAll(w.path("conf.d")))
				link(w, "one", "conf.d")
			},
			func(w *watched) { link(w, "two", "conf.d") },
			func(w *watched) { w.write("two/b.lua", "") },
		}},
		{"file written in pieces", nil, []func(*watched){func(w *watched) {
			f, err := os.Create(w.path("prosody.cfg.lua"))
			w.do(err)
			pieces := time.NewTicker(4 * time.Millisecond)
			defer pieces.Stop()
			last, longest := time.Now(), time.Duration(0)
			for range 20 {
				_, err := f.WriteString("-- \n")
				w.do(err)
				<-pieces.C
				longest, last = max(longest, time.Since(last)), time.Now()
			}
			w.do(f.Close())
			if len(w.Changed()) > 0 && longest < settleTime/2 {
				w.t.Errorf("told while the file was written, with breaks of %v at most", longest)
			}
		}}},
		{"many changes", nil, []func(*watched){func(w *watched) {
			for i := range 5000 {
				name := fmt.Sprintf("conf.d/%d.lua", i%10)
				w.write(name, "")
				w.do(os.Remove(w.path(name)))
			}
			w.write("conf.d/last.lua", "")
			for len(w.Changed()) > 0 { // told while it went on, as it should be where that takes a second
				<-w.Changed()
			}
		}}},
	}
	// All at once: they do little else than wait.
	var running sync.WaitGroup
	defer running.Wait()
	for _, test := range tests {
		running.Go(func() {
			t.Run(test.name, func(t *testing.T) {
				w := watchConfig(t, test.files...)
				w.wantQuiet()
				for _, step := range test.steps {
					w.step++
					step(w)
					w.wantChange()
					w.wantQuiet() // until then the files are watched again, not only looked at
				}
			})
		})
	}
}

// TestWatcher_soon: a change is told soon after the settling. Other work on the machine may delay some of the tries.
func TestWatcher_soon(t *testing.T) {
	w := watchConfig(t)
	w.wantQuiet()
	best := time.Hour
	for i := range 5 {
		w.write("prosody.cfg.lua", external+strings.Repeat("\n", i))
		took := w.wantChange()
		if took < settleTime*8/10 {
			t.Errorf("told after %v, before it settled", took)
		}
		best = min(best, took)
	}
	t.Logf("told %v after the change", best)
	if best > 2*settleTime {
		t.Errorf("told %v after the change", best)
	}
}

// TestWatcher_betweenLoadAndWatch: what changes after Load has read it is told.
func TestWatcher_betweenLoadAndWatch(t *testing.T) {
	t.Parallel()
	w := watchConfig(t)
	c, _, err := Load(w.path("prosody.cfg.lua"))
	w.do(err)
	w.write("conf.d/b.lua", "")
	w.Watch(c.Sources)
	w.wantChange()
	w.wantQuiet()
}

// TestWatcher_loadedMeanwhile: a change that was loaded before it was told is not told.
func TestWatcher_loadedMeanwhile(t *testing.T) {
	t.Parallel()
	w := watchConfig(t)
	w.wantQuiet()
	for i := 0; ; i++ {
		began := time.Now()
		w.write("conf.d/b.lua", strings.Repeat("\n", i))
		w.load()
		if time.Since(began) < settleTime/2 {
			break // otherwise it was told in between, as it should be
		}
	}
	w.wantQuiet()
}

// TestWatcher_toldAndLoaded: what was told, but not yet heard, is not told again when it was loaded for another reason.
func TestWatcher_toldAndLoaded(t *testing.T) {
	t.Parallel()
	w := watchConfig(t)
	w.wantQuiet()
	w.write("conf.d/b.lua", "")
	for _, told := range []int{1, 0} {
		for deadline := time.Now().Add(10 * time.Second); len(w.Changed()) != told; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d told, want %d", len(w.Changed()), told)
			}
		}
		w.load()
	}
	w.wantQuiet()
}

// TestWatcher_noise: other files of the same directory neither count, nor delay what does. A log among the certificates
// would otherwise have each of its lines be followed by a reload.
func TestWatcher_noise(t *testing.T) {
	t.Parallel()
	w := watchConfig(t)
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { stopped <- n }()
		f, err := os.Create(w.path("prosody.log"))
		if err != nil {
			return
		}
		defer f.Close()
		for ; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			fmt.Fprintln(f, "a line")
			os.WriteFile(w.path("certs/README"), []byte(strconv.Itoa(n)), 0o600)
			os.WriteFile(w.path("conf.d/.a.lua.swp"), nil, 0o600)
			os.Remove(w.path("conf.d/.a.lua.swp"))
		}
	}()
	w.wantQuiet()
	w.write("conf.d/a.lua", "x = 7\n")
	took := w.wantChange()
	w.wantQuiet()
	close(stop)
	if n := <-stopped; n < 20 {
		t.Errorf("only %d times noise", n)
	}
	if took > latestTime {
		t.Errorf("told after %v", took)
	}
}

// TestWatcher_endless: a file that never settles is told now and then.
func TestWatcher_endless(t *testing.T) {
	t.Parallel()
	w := watchConfig(t)
	w.wantQuiet()
	began := time.Now()
	last, longest := began, time.Duration(0) // pause between two changes, which a busy machine makes
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for n := 0; ; n++ {
		w.write("conf.d/a.lua", strings.Repeat("\n", n%100))
		longest = max(longest, time.Since(last))
		last = time.Now()
		select {
		case <-w.Changed():
			if took := time.Since(began); took < latestTime-settleTime && longest < settleTime/2 {
				t.Errorf("told after %v", took)
			}
			return
		case <-ticks.C:
			if time.Since(began) > 10*latestTime {
				t.Fatal("not told")
			}
		}
	}
}

// TestWatcher_programInPath: one that is missing is waited for in all the directories where it may come.
func TestWatcher_programInPath(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+"/one:"+dir+"/two:"+os.Getenv("PATH"))
	w := watchConfig(t, "prosody.cfg.lua", strings.Replace(external, "./auth.sh", "check-password --all", 1))
	program := func(name string) {
		t.Helper()
		w.do(os.MkdirAll(filepath.Dir(name), 0o755))
		w.do(os.WriteFile(name, []byte("#!/bin/sh\n"), 0o755))
		w.wantChange()
		w.wantQuiet()
	}
	program(dir + "/two/check-password")
	w.do(os.Remove(dir + "/two/check-password"))
	w.wantChange()
	program(dir + "/two/check-password")
	program(dir + "/one/check-password")
}

// TestWatcher_withoutSnapshot: Sources that are not from Load count from the call of Watch.
func TestWatcher_withoutSnapshot(t *testing.T) {
	t.Parallel()
	w := watchConfig(t)
	w.Watch(Sources{Files: []string{w.path("other")}, Patterns: []string{w.path("more/*")}})
	w.write("prosody.cfg.lua", "")
	w.wantQuiet()
	w.Watch(Sources{Files: []string{w.path("other")}})
	w.write("other", "")
	w.wantChange()
}

// TestWatcher_close leaves no goroutine and no descriptor, whatever goes on.
func TestWatcher_close(t *testing.T) {
	before := inotifies(t)
	w := watchConfig(t)
	for i := range 20 {
		go w.Watch(Sources{Files: []string{w.path("conf.d/a.lua")}})
		w.write("conf.d/a.lua", strings.Repeat("\n", i))
	}
	if inotifies(t) <= before {
		t.Error("inotify is not used")
	}
	w.Close()
	w.Close()
	w.load()
	if now := inotifies(t); now != before {
		t.Errorf("%d inotify descriptors more than before", now-before)
	}
	select {
	case <-w.done:
	default:
		t.Error("the goroutine runs on")
	}
	select {
	case <-w.dirs.done:
	default:
		t.Error("the reader runs on")
	}
}

// inotifies counts the inotify descriptors of this process.
func inotifies(t *testing.T) int {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && strings.Contains(target, "inotify") {
			n++
		}
	}
	return n
}

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// machineFaults are those of the machine and of whoever looks after it.
func machineFaults() []fault {
	faults := []fault{
		{name: "config file broken", spares: everybodySpared, begin: func(r *rig) (end func()) {
			good, err := os.ReadFile(r.config)
			if err != nil {
				r.t.Fatal(err)
			}
			r.skip()
			r.write(r.config, file{string(good) + "\nVirtualHost {", 0o600})
			return func() {
				r.nextReload(r.t, refused, "")
				r.write(r.config, file{string(good), 0o600})
			}
		}},
		{name: "script file broken", spares: everybodySpared, begin: func(r *rig) (end func()) {
			good, err := os.ReadFile(r.paths[0])
			if err != nil {
				r.t.Fatal(err)
			}
			r.skip()
			r.write(r.paths[0]+".new", file{"#!/bin/sh\nexit 1\n", 0o755})
			r.rename(r.paths[0]+".new", r.paths[0])
			return func() {
				r.nextReload(r.t, refused, "")
				r.write(r.paths[0]+".new", file{string(good), 0o755})
				r.rename(r.paths[0]+".new", r.paths[0])
			}
		}},
		{name: "certificates swapped", spares: everybodySpared, begin: func(r *rig) (end func()) {
			return swapped(r, time.Hour)
		}, check: func(r *rig, l *load) {
			serials := make(map[string]bool)
			for _, v := range l.since(time.Time{}) {
				serials[v.serial] = true
			}
			if want := 2 * 3; len(serials) != want {
				r.t.Errorf("%d certificates were seen, not %d", len(serials), want)
			}
		}},
		{name: "certificates expired", spares: everybodySpared, begin: func(r *rig) (end func()) {
			return swapped(r, -time.Minute)
		}},
		{name: "daemon out of descriptors", spares: nobodySpared, begin: func(r *rig) (end func()) {
			pid := r.cmd.Process.Pid
			var was unix.Rlimit
			if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &was); err != nil {
				r.t.Fatal(err)
			}
			set := func(limit uint64) {
				if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: was.Max}, nil); err != nil {
					r.t.Fatal(err)
				}
			}
			set(uint64(r.idle.descriptors + 4)) // beside those of the scripts that end now
			r.killScripts()
			return func() { set(was.Cur) }
		}},
		{name: "clock 2 minutes fast, then right again", spares: everybodySpared, prepare: withClock, begin: func(r *rig) (end func()) {
			r.stepClock(2 * time.Minute)
			return func() { r.stepClock(-2 * time.Minute) }
		}},
		{name: "clock 2 minutes slow, then right again", spares: everybodySpared, prepare: withClock, begin: func(r *rig) (end func()) {
			r.stepClock(-2 * time.Minute)
			return func() { r.stepClock(2 * time.Minute) }
		}},
		{name: "daemon killed with SIGKILL, and started again", spares: nobodySpared, strikes: true, begin: func(r *rig) (end func()) {
			scripts := r.processes()
			r.signal(r.t, syscall.SIGKILL)
			r.wait(r.t)
			until(r.t, "the scripts have ended", recovery, func() bool {
				for _, pid := range scripts {
					if alive(pid) {
						return false
					}
				}
				return true
			})
			return func() { r.launch(r.config) }
		}},
	}
	return append(faults, diskFaults()...)
}

// swapped gives each host another certificate, which lasts so long, and at the end a third.
func swapped(r *rig, life time.Duration) (end func()) {
	for _, h := range r.hosts {
		r.certify(h.name, life)
	}
	return func() {
		for _, h := range r.hosts {
			r.certify(h.name, time.Hour)
		}
	}
}

// diskFaults need a file system of their own, and so root.
func diskFaults() []fault {
	data := func(r *rig) string { return filepath.Join(r.dir, "data") }
	return []fault{
		{name: "disk full", spares: passwordsSpared, strikes: true,
			prepare: func(r *rig) {
				mount(r, data(r), "mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none")
				for i := range r.doors { // what is set aside is used up soon
					r.doors[i].claims = append(r.doors[i].claims, slices.Repeat([]claim{freshClaim}, 10)...)
				}
			},
			begin: func(r *rig) (end func()) {
				ballast := filepath.Join(data(r), "ballast")
				fill(r.t, ballast)
				return func() { r.remove(ballast) }
			}},
		{name: "data directory read-only", spares: passwordsSpared, strikes: true, restarts: true,
			prepare: func(r *rig) {
				image := filepath.Join(r.dir, "image")
				if err := os.WriteFile(image, nil, 0o600); err != nil {
					r.t.Fatal(err)
				}
				run(r, "truncate", "--size", "16M", image)
				run(r, "mkfs.ext4", "-q", image)
				mount(r, data(r), "mount", "-o", "loop", image)
			},
			begin: func(r *rig) (end func()) {
				// What the kernel does when the disk has an error.
				run(r, "mount", "-o", "remount,abort", data(r))
				return func() {
					r.stop(r.t)
					run(r, "umount", data(r))
					run(r, "mount", "-o", "loop", filepath.Join(r.dir, "image"), data(r))
					r.launch(r.config)
				}
			}},
	}
}

// mount makes a directory and mounts something there until the end of the test, if that may be done here.
func mount(r *rig, at string, command ...string) {
	r.t.Helper()
	if err := os.Mkdir(at, 0o700); err != nil {
		r.t.Fatal(err)
	}
	command = append(command, at)
	if text, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		r.t.Logf("not possible here, and not tried: %v: %v\n%s", command, err, text)
		r.impossible = true
		return
	}
	r.t.Cleanup(func() { run(r, "umount", at) })
}

func run(r *rig, command ...string) {
	r.t.Helper()
	if text, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %v\n%s", command, err, text)
	}
}

func (r *rig) remove(path string) {
	if err := os.Remove(path); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) rename(from, to string) {
	if err := os.Rename(from, to); err != nil {
		r.t.Fatal(err)
	}
}

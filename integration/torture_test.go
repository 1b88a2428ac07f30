package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// What every fault is held against.
const (
	tortureRate    = 240 // logins begun in a second
	tortureMinimum = 200 // of which so many must be over in a second
	tortureMemory  = 8   // MiB that the daemon may have grown by
	maxUnnoticed   = 3   // faults that nobody need notice in the short form, where some happen a handful of times
)

// fault is one thing that goes wrong. All logins have to get the right verdict before it, and again soon after it.
type fault struct {
	name string
	// prepare changes the rig before the daemon starts; nil for nothing.
	prepare func(*rig)
	// begin starts the fault and returns what ends it.
	begin func(*rig) (end func())
	// spares says whether somebody has nothing to do with the fault, so that the right verdict is the only one.
	spares func(*visit) bool
	// restarts says that the daemon is restarted to end the fault, which everybody notices.
	restarts bool
	// idle is how many connections the daemon may keep for the next time.
	idle int
	// strikes says that it would not be the fault that it should be if nobody were told to come again. In the short form
	// that may happen.
	strikes bool
	// check looks at what is there when all is over.
	check func(*rig, *load)
}

func nobodySpared(*visit) bool    { return false }
func everybodySpared(*visit) bool { return true }
func tokensSpared(v *visit) bool  { return v.claim.byToken() }
func passwordsSpared(v *visit) bool {
	return !v.claim.byToken()
}

// TestTorture lets each fault happen while hundreds of people a second log in, whose right verdicts are known. A wrong one
// must never be given; who cannot be judged must be told so, or nothing, and only where the fault has to do with him;
// all must be well again within three seconds; and of the machine the daemon may have no more than before. The long form
// takes longer for each, and insists on the rate.
func TestTorture(t *testing.T) {
	lasts := 1200 * time.Millisecond
	if tortured() {
		lasts = 6 * time.Second
	}
	var rows []row
	for _, f := range slices.Concat(scriptFaults(), machineFaults(), neighbourFaults()) {
		t.Run(strings.ReplaceAll(f.name, " ", "_"), func(t *testing.T) { rows = append(rows, f.run(t, lasts)) })
	}
	t.Logf("\n%s", table(rows))
	unnoticed := 0
	for _, r := range rows {
		if r.unnoticed {
			unnoticed++
		}
	}
	if unnoticed > maxUnnoticed {
		t.Errorf("%d faults were noticed by nobody", unnoticed)
	}
}

// row is what became of one fault.
type row struct {
	name             string
	logins           int
	rate             float64
	wrong, temporary int
	unnoticed        bool // though it should have been
	slowest          time.Duration
	recovered        time.Duration
	left             usage // beyond what there was before
	before, after    int   // KiB
}

func (f *fault) run(t *testing.T, lasts time.Duration) row {
	r := newRig(t)
	if f.prepare != nil {
		f.prepare(r)
	}
	if r.impossible {
		return row{name: f.name + " (not possible on this machine)"}
	}
	r.begin()

	r.warm()
	r.idle = r.rest()
	before, memory := r.idle, r.memory(t, "VmRSS")
	before.descriptors += f.idle

	began := time.Now()
	l := startLoad(t, tortureRate, r.clock, r.doors)
	time.Sleep(lasts / 3)
	struck := time.Now()
	end := f.begin(r)
	time.Sleep(lasts)
	lifted := time.Now()
	end()
	// Calm is that nobody has failed for a second.
	until(t, "all logins get their verdict again", 4*recovery, func() bool {
		if time.Since(lifted) < time.Second+lasts/3 {
			return false
		}
		for _, v := range l.since(time.Now().Add(-time.Second)) {
			if !v.judged() {
				return false
			}
		}
		return true
	})
	took := time.Since(began)
	l.stop()
	visits := l.since(began)
	result := row{name: f.name, logins: len(visits), rate: float64(len(visits)) / took.Seconds(), before: memory}
	for _, v := range visits {
		result.slowest = max(result.slowest, v.ended.Sub(v.began))
		switch {
		case v.judged(), r.steppedDuring(&v):
		case v.wrong():
			result.wrong++
			t.Errorf("%s at %s: %s", v.claim, v.door.host, v.outcome)
		case !v.honest():
			t.Errorf("%s at %s was told %q", v.claim, v.door.host, v.outcome)
		default:
			result.temporary++
			// Who began before may have been overtaken.
			cut := f.restarts && v.ended.After(lifted)
			if v.ended.Before(struck) || f.spares(&v) && !cut {
				t.Errorf("%s at %s was told %q, %v after the fault began, and has nothing to do with it", v.claim, v.door.host,
					v.outcome, v.began.Sub(struck).Round(time.Millisecond))
			}
			if v.began.After(lifted) {
				result.recovered = max(result.recovered, v.ended.Sub(lifted))
			}
		}
	}
	if f.strikes && result.temporary == 0 {
		result.unnoticed = true
		if tortured() {
			t.Error("nobody has noticed the fault")
		}
	}
	if result.recovered > recovery {
		t.Errorf("all was well %v after the end of it", result.recovered)
	}
	if tortured() && result.rate < tortureMinimum {
		t.Errorf("%.0f logins a second", result.rate)
	}
	if f.check != nil {
		f.check(r, l)
	}
	after := r.rest()
	for end := time.Now().Add(patience); !after.within(before) && time.Now().Before(end); {
		after = r.rest()
	}
	if !after.within(before) {
		t.Errorf("the daemon has %+v, and had %+v before", after, before)
	}
	result.left = usage{after.goroutines - before.goroutines, after.children - before.children, after.descriptors - before.descriptors}
	result.after = r.memory(t, "VmRSS")
	// What the collector lets come together is there before the fault in the long form only.
	if grown := result.after - result.before; grown > tortureMemory<<10+idleHeap {
		t.Errorf("the daemon has %d KiB more than before", grown)
	}
	if n := len(r.processes()); n > rigProcesses*len(r.hosts) {
		t.Errorf("there are %d processes of scripts", n)
	}
	r.stop(t)
	until(t, "no process of a script is left", recovery, func() bool { return len(r.processes()) == 0 })
	if t.Failed() {
		t.Logf("outcomes:%s", countOutcomes(visits))
	}
	return result
}

// table is what docs/reliability.md has.
func table(rows []row) string {
	var b strings.Builder
	b.WriteString("| fault | logins | a second | wrong verdicts | told to come again | the slowest | all well after | left over: goroutines, processes, descriptors | memory, MiB |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %d | %.0f | %d | %d | %.2f s | %.2f s | %d, %d, %d | %.1f → %.1f |\n", r.name, r.logins, r.rate, r.wrong, r.temporary,
			r.slowest.Seconds(), r.recovered.Seconds(), max(0, r.left.goroutines), max(0, r.left.children), max(0, r.left.descriptors),
			float64(r.before)/1024, float64(r.after)/1024)
	}
	return b.String()
}

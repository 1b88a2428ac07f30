package integration

import (
	"os"
	"syscall"
	"testing"
	"time"
)

// soakMemory is by how many MiB the daemon may be larger in the last third of a soak than in the second.
const soakMemory = 6

// TestTorture_soak lets people log in at half of the rate that the machine can do, while scripts are killed, and config
// and scripts are changed, every few seconds: for half an hour in the long form, or for GATEHOUSE_SOAK. Nobody may get a
// wrong verdict, nobody but who asked a script that was killed may be told to come again, and in the end goroutines,
// processes, descriptors and memory are what they were.
func TestTorture_soak(t *testing.T) {
	length, every := 12*time.Second, time.Second
	if tortured() {
		length = 30 * time.Minute
	}
	if text := os.Getenv("GATEHOUSE_SOAK"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	every = max(every, length/60)
	r := newRig(t)
	r.begin()
	r.warm()
	top := r.topRate()
	before := r.rest()

	var all, wrong, temporary int
	slowest := time.Duration(0)
	count := func(visits []visit) {
		for _, v := range visits {
			all++
			slowest = max(slowest, v.ended.Sub(v.began))
			switch {
			case v.judged():
			case v.wrong():
				wrong++
				t.Errorf("%s at %s: %s", v.claim, v.door.host, v.outcome)
			case v.outcome == "temporary-auth-failure" && !v.claim.byToken():
				temporary++
			default:
				t.Errorf("%s at %s was told %q", v.claim, v.door.host, v.outcome)
			}
		}
	}
	began := time.Now()
	l := startLoad(t, int(top/2), r.clock, r.doors)
	stir := r.stir()
	var memory []int
	for time.Since(began) < length && !t.Failed() {
		time.Sleep(every)
		count(l.take())
		u := r.usage(t)
		memory = append(memory, r.memory(t, "VmRSS"))
		t.Logf("%4.0f s: %d logins, %d told to come again, %d goroutines, %d processes, %d descriptors, %.1f MiB", time.Since(began).Seconds(),
			all, temporary, u.goroutines, u.children, u.descriptors, float64(memory[len(memory)-1])/1024)
	}
	kills, reloads, restarts := stir()
	l.stop()
	count(l.take())
	took := time.Since(began)
	after := r.rest()
	for end := time.Now().Add(patience); !after.within(before) && time.Now().Before(end); {
		after = r.rest()
	}
	if !after.within(before) {
		t.Errorf("the daemon has %+v, and had %+v before", after, before)
	}
	rate := float64(all) / took.Seconds()
	third := len(memory) / 3
	second, last := mean(memory[third:2*third]), mean(memory[2*third:])
	t.Logf("%d logins in %v, %.0f a second (%.0f is the top), %d scripts killed, %d reloads, %d of them with other scripts; wrong verdicts %d, told to come again %d, "+
		"the slowest %.2f s; goroutines %d → %d, processes %d → %d, descriptors %d → %d, memory %.1f MiB in the second third and %.1f in the last",
		all, took.Round(time.Second), rate, top, kills, reloads, restarts, wrong, temporary, slowest.Seconds(), before.goroutines, after.goroutines,
		before.children, after.children, before.descriptors, after.descriptors, second/1024, last/1024)
	if temporary > kills*rigProcesses*len(r.hosts) {
		t.Error("more were told to come again than scripts were killed")
	}
	if rate < top/2*0.9 {
		t.Errorf("%.0f logins a second", rate)
	}
	if last-second > soakMemory*1024 && length > time.Minute {
		t.Error("the memory grows")
	}
	r.stop(t)
}

// topRate is how many logins a second there are if all come as soon as they can.
func (r *rig) topRate() float64 {
	l := startLoad(r.t, 100000, r.clock, r.doors)
	began := time.Now()
	time.Sleep(3 * time.Second)
	took := time.Since(began)
	n := len(l.take())
	l.stop()
	return float64(n) / took.Seconds()
}

// stir kills scripts and changes config and scripts, until the function that it returns is called, which says how often.
func (r *rig) stir() (end func() (kills, reloads, restarts int)) {
	var kills, reloads, restarts int
	good, err := os.ReadFile(r.config)
	if err != nil {
		r.t.Fatal(err)
	}
	script, err := os.ReadFile(r.paths[0])
	if err != nil {
		r.t.Fatal(err)
	}
	round := 0
	stop := r.again(500*time.Millisecond, func() {
		switch round++; round % 6 {
		case 1:
			if pids := r.processes(); len(pids) > 0 {
				_ = syscall.Kill(pids[round%len(pids)], syscall.SIGKILL) // it may have ended
				kills++
			}
		case 3:
			text := string(good)
			if round%12 == 3 {
				text = "c2s_timeout = 29\n" + text
			}
			r.write(r.config, file{text, 0o600})
			reloads++
		case 5:
			text := string(script)
			if round%12 == 5 {
				text += "# another\n"
			}
			r.write(r.paths[0]+".new", file{text, 0o755})
			r.rename(r.paths[0]+".new", r.paths[0])
			reloads++
			restarts++
		}
	})
	return func() (int, int, int) {
		stop()
		return kills, reloads, restarts
	}
}

func mean(numbers []int) float64 {
	sum := 0
	for _, n := range numbers {
		sum += n
	}
	return float64(sum) / float64(max(1, len(numbers)))
}

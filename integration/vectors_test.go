package integration

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// parallelCases is how many cases run at a time. Most of them wait for timeouts.
const parallelCases = 10

// tally counts the cases of a file.
type tally struct {
	held, total map[string]int // by "must" and "differs"
}

// TestVectors plays every recorded conversation against the built program, each on a fresh server, and compares each
// step with what the recording or its judgement says.
func TestVectors(t *testing.T) {
	tallies := map[string]*tally{}
	var contested []string
	var mu sync.Mutex // guards tallies and contested
	var work, slow []func()
	for _, name := range vectorNames {
		file := readVectors(t, name)
		tallies[name] = &tally{held: map[string]int{}, total: map[string]int{}}
		for _, c := range file.Cases {
			list := &work
			if slices.ContainsFunc(c.Exchange, func(s *vectorStep) bool { return s.Do == "wait-window" }) {
				list = &slow
			}
			*list = append(*list, func() {
				var other bool
				held := t.Run(name+"/"+c.ID, func(t *testing.T) { other = playCase(t, c) })
				mu.Lock()
				defer mu.Unlock()
				if reason := rulings[c.ID].contested; other && reason != "" {
					contested = append(contested, c.ID+" ("+c.Match+") is not as recorded: "+reason)
					held = false // the count is of what is as recorded
				}
				tallies[name].total[c.Match]++
				if held {
					tallies[name].held[c.Match]++
				}
			})
		}
	}
	var group sync.WaitGroup
	queue := make(chan func())
	for range parallelCases {
		group.Go(func() {
			for run := range queue {
				run()
			}
		})
	}
	for _, run := range append(slow, work...) {
		queue <- run
	}
	close(queue)
	group.Wait()
	printTallies(tallies)
	for _, line := range slices.Sorted(slices.Values(contested)) {
		fmt.Println(line)
	}
}

func printTallies(tallies map[string]*tally) {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "vectors\tmust\tdiffers\t")
	sum := map[string]int{}
	for _, name := range vectorNames {
		y := tallies[name]
		fmt.Fprintf(out, "%s\t%d/%d\t%d/%d\t\n", name,
			y.held["must"], y.total["must"], y.held["differs"], y.total["differs"])
		for _, match := range []string{"must", "differs"} {
			sum["held "+match] += y.held[match]
			sum["total "+match] += y.total[match]
		}
	}
	fmt.Fprintf(out, "all\t%d/%d\t%d/%d\t\n",
		sum["held must"], sum["total must"], sum["held differs"], sum["total differs"])
	_ = out.Flush()
}

// playCase runs a case. A case with one-time passwords is begun anew if a window ended in the middle of it, since its
// tokens are then not what the recording means. It says whether the case held by another outcome that is as good.
func playCase(t *testing.T, c *vectorCase) (other bool) {
	waits := slices.ContainsFunc(c.Exchange, func(s *vectorStep) bool { return s.Do == "wait-window" })
	tokens := slices.ContainsFunc(c.Exchange, func(s *vectorStep) bool { return s.Token != nil })
	for try := 1; ; try++ {
		if room := tokenWindow - time.Duration(time.Now().UnixNano())%tokenWindow; tokens && room < 4*time.Second {
			sleepUntilWindow(0.1)
		}
		window := time.Now().Truncate(tokenWindow)
		r := &vectorRun{t: t, c: c, dir: t.TempDir(), tokens: map[string]string{}, conns: map[string]*vectorConn{}}
		wrong := r.play()
		if tokens && !waits && !time.Now().Truncate(tokenWindow).Equal(window) {
			try--
			continue
		}
		if len(wrong) > 0 && try < rulings[c.ID].tries {
			t.Logf("try %d: %q", try, wrong)
			continue
		}
		for _, w := range wrong {
			t.Error(w)
		}
		if len(wrong) > 0 {
			t.Logf("%s (%s): %s", c.ID, c.Match, c.Title)
		}
		return r.other
	}
}

// play runs the case once and returns what is wrong.
func (r *vectorRun) play() []string {
	rule := rulings[r.c.ID]
	config := r.prepare()
	r.d = launch(r.t, config)
	if err := r.d.ready(); err != nil {
		option := rule.refuses + rule.mayRefuse
		switch {
		case !errors.Is(err, errEnded) || option == "":
			return []string{err.Error()}
		case r.d.wait(r.t) != exitConfig:
			return []string{fmt.Sprintf("exit code %d, want %d", r.d.wait(r.t), exitConfig)}
		case !refusal(r.d.log.String(), config, option):
			return []string{"the refusal does not name file, line and " + option}
		}
		return nil
	}
	if rule.refuses != "" {
		return []string{"started, although " + rule.refuses + " is unusable"}
	}
	return r.playSteps(rule)
}

func (r *vectorRun) playSteps(rule ruling) []string {
	expected := r.expected(rule)
	if len(expected) == 0 {
		return []string{"nothing to check"}
	}
	var wrong []string
	outcomes := map[int]*got{}
	off := map[string]bool{} // connections that took another way than the recording's
	for _, s := range r.c.Exchange {
		w := expected[s.N]
		if off[s.Conn] && s.Do != "connect" && !isAlternative(r.c, rule, s.N) {
			w = nil
		}
		g, err := r.step(s, w)
		if w == nil {
			continue
		}
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("step %d (%s): %v", s.N, s.Do, err))
			break
		}
		outcomes[s.N] = g
		problems := check(w, g, s)
		if len(problems) > 0 && r.takesAlternative(rule, s, g) {
			off[s.Conn] = true
			r.other = true
			continue
		}
		for _, p := range problems {
			wrong = append(wrong, fmt.Sprintf("step %d (%s): %s; got %.300s", s.N, s.Do, p, g.raw))
		}
	}
	if rule.final != nil && len(wrong) == 0 {
		var queries []string
		for _, s := range r.scripts {
			queries = append(queries, s.queries(r.t)...)
		}
		if problem := rule.final(queries, outcomes); problem != "" {
			wrong = append(wrong, problem)
		}
	}
	return wrong
}

// expected returns what each step has to give: the recording where it is the contract, else the judgement.
func (r *vectorRun) expected(rule ruling) map[int]*want {
	steps := r.c.Expect.Steps
	if r.c.Match == "differs" {
		steps = r.c.Right.Steps
	}
	expected := map[int]*want{}
	for _, w := range steps {
		expected[w.Step] = w
	}
	for _, w := range rule.steps {
		expected[w.Step] = w
	}
	return expected
}

// takesAlternative says whether the outcome is another one that is as good.
func (r *vectorRun) takesAlternative(rule ruling, s *vectorStep, g *got) bool {
	for _, w := range append(slices.Clone(r.c.AlsoAcceptable), rule.also...) {
		if w.Step == s.N && len(check(w, g, s)) == 0 {
			return true
		}
	}
	return false
}

func isAlternative(c *vectorCase, rule ruling, n int) bool {
	return slices.ContainsFunc(append(slices.Clone(c.AlsoAcceptable), rule.also...), func(w *want) bool { return w.Step == n })
}

// TestRulings_coverEveryNote makes sure that no case passes because nobody said what is right.
func TestRulings_coverEveryNote(t *testing.T) {
	known := map[string]bool{}
	total := 0
	for _, name := range vectorNames {
		for _, c := range readVectors(t, name).Cases {
			total++
			known[c.ID] = true
			if c.Match != "must" && c.Match != "differs" {
				t.Errorf("%s: match is %q", c.ID, c.Match)
			}
			rule := rulings[c.ID]
			if c.Match == "differs" && len(c.Right.Steps) == 0 && rule.refuses == "" && len(rule.steps) == 0 {
				t.Errorf("%s has no ruling; its note says: %s", c.ID, c.Right.Note)
			}
			for _, w := range c.AlsoAcceptable {
				if w.Step == 0 && len(rule.also) == 0 {
					t.Errorf("%s has an alternative without a step and no ruling", c.ID)
				}
			}
		}
	}
	if total != 439 {
		t.Errorf("%d cases, want 439", total)
	}
	for id := range rulings {
		if !known[id] {
			t.Errorf("ruling for %s, which is no case", id)
		}
	}
}

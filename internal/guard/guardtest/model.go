// Package guardtest plays with guard.Counters what a model of a few lines does too, and compares.
package guardtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"gatehouse.im/gatehouse/internal/guard"
)

// count is one of the model's, in which nothing fades.
type count struct {
	score  float64
	places int
}

type model struct {
	counts map[string]*count
	known  map[[2]uint64]bool
}

func (m *model) count(a *guard.Attempt, r guard.Reason) *count {
	key := map[guard.Reason]string{
		guard.Secret: fmt.Sprint(r, a.Address, a.User, a.Mark), guard.Pair: fmt.Sprint(r, a.Address, a.User),
		guard.Address: fmt.Sprint(r, a.Address), guard.User: fmt.Sprint(r, a.User),
	}[r]
	if m.counts[key] == nil {
		m.counts[key] = new(count)
	}
	return m.counts[key]
}

func (m *model) take(a *guard.Attempt) guard.Answer {
	got := guard.Answer{Granted: true, Known: m.known[[2]uint64{a.User, a.Address}]}
	for r := range guard.Reasons {
		if !got.Judges(a, r) {
			continue
		}
		c := m.count(a, r)
		got.Scores[r] = c.score
		if c.score+float64(c.places)+1 > a.Limit(r) || c.score > a.Enough(r) {
			got.Granted = false
		}
	}
	m.places(a, got, 1)
	return got
}

func (m *model) places(a *guard.Attempt, got guard.Answer, n int) {
	for r := range guard.Reasons {
		if got.Granted && got.Judges(a, r) {
			m.count(a, r).places += n
		}
	}
}

func (m *model) settle(a *guard.Attempt, got guard.Answer, o guard.Outcome) {
	m.places(a, got, -1)
	switch o {
	case guard.Refused:
		if c := m.count(a, guard.Secret); c.score == 0 {
			for _, r := range []guard.Reason{guard.Pair, guard.Address, guard.User} {
				m.count(a, r).score++
			}
		}
		m.count(a, guard.Secret).score++
	case guard.Accepted:
		spent := m.count(a, guard.Pair).score
		m.count(a, guard.Secret).score, m.count(a, guard.Pair).score = 0, 0
		for _, r := range []guard.Reason{guard.Address, guard.User} {
			m.count(a, r).score = max(m.count(a, r).score-spent, 0)
		}
		m.known[[2]uint64{a.User, a.Address}] = true
	}
}

func (m *model) forgive(address, user uint64, addresses, users []uint64, marks uint16) {
	for _, a := range addresses {
		for _, u := range users {
			at := &guard.Attempt{Address: a, User: u}
			if (address == 0 || a == address) && (user == 0 || u == user) {
				m.count(at, guard.Pair).score = 0
				for at.Mark = range marks {
					m.count(at, guard.Secret).score = 0
				}
			}
			if address == a && user == 0 {
				m.count(at, guard.Address).score = 0
			}
			if user == u && address == 0 {
				m.count(at, guard.User).score = 0
			}
		}
	}
}

// A taken attempt is under way: as the Counters and as the model have it.
type taken struct {
	attempt   *guard.Attempt
	got, want guard.Answer
}

// Play plays n moves by chance. The counters are empty at first, and the same ones in turn.
func Play(t *testing.T, n int, counters ...guard.Counters) {
	t.Helper()
	seed := rand.Uint64()                    // #nosec G404 -- a game
	random := rand.New(rand.NewPCG(seed, 0)) // #nosec G404 -- a game
	m := &model{make(map[string]*count), make(map[[2]uint64]bool)}
	// So long that nothing fades meanwhile, but for what the comparison allows.
	settings := &guard.Settings{PerPair: 4, PerAddress: 9, PerUser: 7, HalfLife: 10_000 * time.Hour, Delay: 5 * time.Second}
	others := &guard.Settings{PerAddress: 12, HalfLife: settings.HalfLife}
	addresses, users := []uint64{1<<60 + 1, 2, 3<<32 + 3}, []uint64{4 << 50, 5, 6 << 34, 7}
	const marks = 5
	var open []taken
	for i := range n {
		c := counters[random.IntN(len(counters))]
		move := random.IntN(20)
		switch {
		case move == 0 && i%7 == 0:
			address, user := addresses[random.IntN(3)]*uint64(random.IntN(2)), users[random.IntN(4)] // #nosec G115 -- 0 or 1
			if address != 0 {
				user *= uint64(random.IntN(2)) // #nosec G115 -- 0 or 1
			}
			if _, err := c.Forgive(address, user); err != nil {
				t.Fatalf("seed %d, move %d: %v", seed, i, err)
			}
			m.forgive(address, user, addresses, users, marks)
		case move < 12 && len(open) < 20:
			a := &guard.Attempt{
				Address: addresses[random.IntN(3)], User: users[random.IntN(4)], Mark: uint16(random.IntN(marks)), // #nosec G115 -- small
				Settings: settings, Waited: time.Duration(random.IntN(6)) * time.Second,
			}
			if random.IntN(10) == 0 {
				a.Settings = others
			}
			got, err := c.Take(a)
			want := m.take(a)
			if err != nil || got.Granted != want.Granted || got.Known != want.Known || !near(got.Scores, want.Scores) {
				t.Fatalf("seed %d, move %d: %+v: %+v, %v; want %+v", seed, i, a, got, err, want)
			}
			if got.Granted {
				open = append(open, taken{a, got, want})
			}
		case len(open) > 0:
			last := open[random.IntN(len(open))]
			open = remove(open, last)
			outcome := guard.Refused
			if o := random.IntN(16); o < 2 {
				outcome = guard.Outcome(o * 2)
			}
			if err := c.Settle(last.attempt, last.got, outcome); err != nil {
				t.Fatalf("seed %d, move %d: %v", seed, i, err)
			}
			m.settle(last.attempt, last.want, outcome)
		default:
			// Judged by others: there is the outcome alone.
			a := &guard.Attempt{Address: addresses[0], User: users[0], Mark: uint16(random.IntN(marks)), Settings: settings} // #nosec G115 -- small
			if err := c.Settle(a, guard.Answer{}, guard.Refused); err != nil {
				t.Fatalf("seed %d, move %d: %v", seed, i, err)
			}
			m.settle(a, guard.Answer{}, guard.Refused)
		}
	}
}

func remove(open []taken, one taken) []taken {
	for i := range open {
		if open[i].attempt == one.attempt {
			return append(open[:i:i], open[i+1:]...)
		}
	}
	return open
}

func near(a, b [guard.Reasons]float64) bool {
	for r := range a {
		if math.Abs(a[r]-b[r]) > 0.01 {
			return false
		}
	}
	return true
}

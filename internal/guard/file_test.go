package guard

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// restart has another guard know what w's does, after so long.
func (w *world) restart(down time.Duration) {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "guard.state")
	if err := w.guard.Save(path); err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(down)
	w.guard = New(Defaults())
	if err := w.guard.Load(path); err != nil {
		w.t.Fatal(err)
	}
}

func TestFile_scenarios(t *testing.T) {
	for name, play := range map[string]func(*world){
		"at once": func(w *world) {
			w.want("at home", home, "alice", right, "yes")
			w.guess(20, attacker, "alice")
			for i := range 200 {
				_, _ = w.login(fmt.Sprintf("10.1.0.%d", i), "alice", fmt.Sprint(i))
			}
			w.restart(0)
			w.wantOutcomes("who guesses", w.guess(10, attacker, "alice"), "map[pair:10]")
			w.want("at home", home, "alice", right, "yes")
			w.want("elsewhere", "198.51.100.9", "alice", right, "user")
			w.want("another", "198.51.100.9", "bob", right, "yes")
			if w.guard.Changed() {
				w.restart(0)
				w.want("at the next home", "198.51.100.9", "bob", right, "yes")
			} else {
				w.t.Error("a login from a new address is no change")
			}
		},
		"time goes on while it is down": func(w *world) {
			w.guess(20, attacker, "alice")
			w.restart(30 * time.Minute)
			w.wantOutcomes("half is forgotten", w.guess(20, attacker, "alice"), "map[no:5 pair:15]")
			w.restart(24 * time.Hour)
			w.wantOutcomes("all is", w.guess(20, attacker, "alice"), "map[no:10 pair:10]")
			if n := w.guard.Stats().Counters; n > 13 {
				w.t.Errorf("%d counters", n)
			}
		},
		"a month": func(w *world) {
			w.want("at home", home, "alice", right, "yes")
			time.Sleep(20 * 24 * time.Hour)
			w.want("at work", attacker, "alice", right, "yes")
			w.restart(20 * 24 * time.Hour)
			for i := range 200 {
				_, _ = w.login(fmt.Sprintf("10.1.0.%d", i), "alice", fmt.Sprint(i))
			}
			w.want("at home", home, "alice", right, "user")
			w.want("at work", attacker, "alice", right, "yes")
			w.restart(400 * 24 * time.Hour)
			if s := w.guard.Stats(); s.Known != 0 || s.Counters != 0 {
				w.t.Errorf("%+v", s)
			}
		},
		"nothing to keep": func(w *world) {
			done, _, _ := w.guard.Try(origin(addr(home)).Addr(), "alice", "a.example", "x", 0)
			if w.guard.Changed() {
				w.t.Error("a place is a change")
			}
			w.restart(0)
			if s := w.guard.Stats(); s.Counters != 0 {
				w.t.Errorf("a place was kept: %+v", s)
			}
			done(false, nil)
			w.restart(0)
		},
		"who comes each minute is no change": func(w *world) {
			w.want("at home", home, "alice", right, "yes")
			w.restart(0)
			for range 50 {
				time.Sleep(time.Minute)
				w.want("at home", home, "alice", right, "yes")
			}
			if w.guard.Changed() {
				w.t.Error("it is")
			}
			time.Sleep(20 * time.Minute)
			w.want("at home", home, "alice", right, "yes")
			if !w.guard.Changed() {
				w.t.Error("it never is")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { play(newWorld(t)) })
		})
	}
}

// used is a guard that has counted.
func used(t testing.TB) *Guard {
	t.Helper()
	g := New(Defaults())
	for i := range 12 {
		done, _, err := g.Try(addr(attacker), "alice", "a.example", fmt.Sprint(i), time.Hour)
		if err == nil && done != nil {
			done(false, nil)
		}
	}
	done, _, err := g.Try(addr(home), "alice", "a.example", right, time.Hour)
	if err != nil || done == nil {
		t.Fatal(err)
	}
	done(true, nil)
	return g
}

// A clock that was set, by whatever, neither locks anybody out for longer nor makes anything break.
func TestFile_clocks(t *testing.T) {
	g := used(t)
	now := time.Now()
	for _, off := range []time.Duration{0, time.Minute, time.Hour, 365 * 24 * time.Hour, 200 * 365 * 24 * time.Hour} {
		for _, saved := range []time.Time{now.Add(off), now.Add(-off)} {
			_, m, err := decode(g.encode(saved), now, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			want := 10.0
			if off > 0 && saved.Before(now) {
				want *= math.Exp2(-off.Hours())
			}
			a := g.own.attempt(origin(addr(attacker)), "alice", "a.example", "")
			a.Settings = &Settings{PerPair: 99, PerAddress: 99, PerUser: 99, HalfLife: time.Hour}
			if got, _ := m.Take(&a); math.Abs(got.Scores[Pair]-want) > 0.05 {
				t.Errorf("saved at %v: %v, want %v", saved.Sub(now), got.Scores, want)
			}
			a.Address = g.own.address(origin(addr(home)))
			if got, _ := m.Take(&a); got.Known != (now.Sub(saved) < knownFor) {
				t.Errorf("saved at %v: known %v", saved.Sub(now), got.Known)
			}
		}
	}
	for _, at := range []time.Time{{}, time.UnixMilli(math.MaxInt64), time.UnixMilli(math.MinInt64)} {
		if _, m, err := decode(g.encode(at), now, time.Hour); err != nil || m == nil {
			t.Error(at, err)
		}
		if _, _, err := decode(g.encode(now), at, time.Hour); err != nil {
			t.Error(at, err)
		}
	}
}

// What is no file of ours is an error, and an empty guard that works and saves.
func TestFile_damaged(t *testing.T) {
	whole := used(t).encode(time.Now())
	flipped := append([]byte(nil), whole...)
	flipped[headSize+3] ^= 1
	for name, content := range map[string][]byte{
		"empty": {}, "foreign": []byte("SQLite format 3\x00"), "magic alone": []byte(magic), "zeros": make([]byte, 5000),
		"cut": whole[:len(whole)-1], "half": whole[:len(whole)/2], "longer": append(whole[:len(whole):len(whole)], 0), "a bit": flipped,
		"another version": append([]byte("gatehouse guard 2\n"), whole[len(magic):]...),
		"huge":            make([]byte, maxFile+1),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "guard.state")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			g := New(Defaults())
			if err := g.Load(path); !errors.Is(err, ErrFile) {
				t.Errorf("got %v", err)
			}
			done, _, err := g.Try(addr(home), "alice", "a.example", "x", 0)
			if err != nil || done == nil {
				t.Fatal(err)
			}
			done(false, nil)
			if err := g.Save(path); err != nil {
				t.Fatal(err)
			}
			if err := New(Defaults()).Load(path); err != nil {
				t.Error(err)
			}
		})
	}
}

// What stands in the way of a file is an error at once.
func TestFile_system(t *testing.T) {
	dir := t.TempDir()
	g := used(t)
	path := filepath.Join(dir, "guard.state")
	if err := g.Load(path); err != nil {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path+".new", []byte("of a daemon that was killed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := g.Save(path); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode() != 0o600 || info.Size() > 2000 {
		t.Errorf("%v %d, %v", info.Mode(), info.Size(), err)
	}
	if g.Changed() {
		t.Error("there is more to save")
	}
	done, _, _ := g.Try(addr(home), "bob", "a.example", "x", 0)
	done(false, nil)
	if err := g.Save(filepath.Join(dir, "gone", "guard.state")); !errors.Is(err, fs.ErrNotExist) || !g.Changed() {
		t.Errorf("no directory: %v, %v", err, g.Changed())
	}
	if err := g.Save("/dev/full/x"); err == nil {
		t.Error("saved in a device")
	}
	inTheWay := filepath.Join(dir, "directory")
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := g.Save(inTheWay); err == nil {
		t.Error("saved as a directory")
	}
	if err := New(Defaults()).Load(inTheWay); !errors.Is(err, ErrFile) {
		t.Errorf("a directory: %v", err)
	}
	if _, err := os.Stat(inTheWay + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what could not be used is left: %v", err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := New(Defaults()).Load(pipe); !errors.Is(err, ErrFile) {
		t.Errorf("a pipe: %v", err)
	}
}

// A guard that is full of everything fits in a file, and comes back.
func TestFile_full(t *testing.T) {
	g := New(Defaults())
	s := Defaults()
	for i := range uint64(2 * shards * perShard) {
		refuse(g.memory, nth(i+1, &s))
	}
	var h homes
	for i := range h.address {
		h.address[i], h.seen[i] = uint32(i+1), g.memory.known.now() // #nosec G115 -- small
	}
	for i := range g.memory.known.shards {
		for j := range uint64(knownPerShard) {
			g.memory.known.shards[i].m[j*shards+uint64(i)] = h // #nosec G115 -- small
		}
	}
	path := filepath.Join(t.TempDir(), "guard.state")
	began := time.Now()
	if err := g.Save(path); err != nil {
		t.Fatal(err)
	}
	saved := time.Since(began)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	other := New(Defaults())
	began = time.Now()
	if err := other.Load(path); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of at most %d, saved in %v, loaded in %v", info.Size(), maxFile, saved, time.Since(began))
	if one, two := g.Stats(), other.Stats(); one.Known != two.Known || two.Counters < one.Counters*99/100 {
		t.Errorf("%+v became %+v", one, two)
	}
}

// FuzzDecode: a file that is not damaged and yet wrong is an error, or a memory within its bounds that can be asked.
func FuzzDecode(f *testing.F) {
	whole := used(f).encode(time.Now())
	body := whole[:len(whole)-sha256.Size]
	f.Add(body)
	f.Add(body[:headSize])
	f.Add(append(body[:len(body):len(body)], 0))
	for _, at := range []int{headSize - 8, headSize - 4} { // how many there are
		many := append([]byte(nil), body...)
		binary.BigEndian.PutUint32(many[at:], math.MaxUint32)
		f.Add(many)
	}
	for _, score := range []float64{math.NaN(), math.Inf(1), -1, 0, 1e300} {
		odd := append([]byte(nil), body...)
		binary.BigEndian.PutUint64(odd[headSize+counterSize-8:], math.Float64bits(score))
		f.Add(odd)
	}
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, _, err := decode(body, time.Now(), time.Hour); err != nil && !errors.Is(err, ErrFile) {
			t.Errorf("%v", err)
		}
		sum := sha256.Sum256(body)
		_, m, err := decode(append(body[:len(body):len(body)], sum[:]...), time.Now(), time.Hour)
		if err != nil {
			if !errors.Is(err, ErrFile) || m != nil {
				t.Errorf("%v, %v", m, err)
			}
			return
		}
		s := Defaults()
		var attempts []*Attempt
		for i := range m.shards {
			for k, c := range m.shards[i].m {
				if !(c.score > 0 && c.score <= MaxScore) || c.pending != 0 || len(m.shards[i].m) > perShard {
					t.Fatalf("%+v", c)
				}
				attempts = append(attempts, &Attempt{Address: k.address, User: k.user, Settings: &s})
			}
		}
		for _, a := range attempts {
			if got, _ := m.Take(a); !got.Possible(a) {
				t.Fatalf("%+v", got)
			}
		}
	})
}

func BenchmarkSave(b *testing.B) {
	g := used(b)
	path := filepath.Join(b.TempDir(), "guard.state")
	for b.Loop() {
		if err := g.Save(path); err != nil {
			b.Fatal(err)
		}
	}
}

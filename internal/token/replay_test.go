package token

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
)

func openReplay(tb testing.TB, path string) *Replay {
	tb.Helper()
	r, err := OpenReplay(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.Close() })
	return r
}

func closeReplay(tb testing.TB, r *Replay) {
	tb.Helper()
	if err := r.Close(); err != nil {
		tb.Fatal(err)
	}
}

func testID(n int) (id ID) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

func use(tb testing.TB, s ReplayStore, id ID, expires, now time.Time, want bool) {
	tb.Helper()
	if fresh, err := s.Use(id, expires, now); err != nil || fresh != want {
		tb.Errorf("Use(%x…) = %v, %v, want %v", id[:8], fresh, err, want)
	}
}

// eachStore runs a test with both stores.
func eachStore(t *testing.T, f func(t *testing.T, s ReplayStore, u *used)) {
	t.Run("memory", func(t *testing.T) {
		m := new(Memory)
		f(t, m, &m.used)
	})
	t.Run("file", func(t *testing.T) {
		r := openReplay(t, filepath.Join(t.TempDir(), "replay.db"))
		f(t, r, &r.used)
		closeReplay(t, r)
	})
}

func TestStore_useOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, s ReplayStore, u *used) {
		use(t, s, testID(1), testTime.Add(time.Minute), testTime, true)
		use(t, s, testID(1), testTime.Add(time.Minute), testTime, false)
		use(t, s, testID(1), testTime.Add(time.Hour), testTime, false) // whatever the expiry
		use(t, s, testID(2), testTime.Add(time.Minute), testTime, true)
		use(t, s, testID(1), testTime.Add(time.Minute), testTime.Add(59*time.Second), false)
	})
}

func TestStore_racingLoginsExactlyOneWins(t *testing.T) {
	eachStore(t, func(t *testing.T, s ReplayStore, u *used) {
		const tokens, racers = 20, 8
		var won [tokens]atomic.Int32
		var wg sync.WaitGroup
		for n := range tokens {
			for range racers {
				wg.Go(func() {
					fresh, err := s.Use(testID(n), testTime.Add(time.Minute), testTime)
					if err != nil {
						t.Error(err)
					}
					if fresh {
						won[n].Add(1)
					}
				})
			}
		}
		wg.Wait()
		for n := range won {
			if got := won[n].Load(); got != 1 {
				t.Errorf("token %d was accepted %d times", n, got)
			}
		}
	})
}

func TestStore_forgetsWhatHasExpired(t *testing.T) {
	eachStore(t, func(t *testing.T, s ReplayStore, u *used) {
		now := testTime
		for i := range 200 { // 2000 seconds
			use(t, s, testID(i), now.Add(2*time.Minute), now, true)
			now = now.Add(10 * time.Second)
		}
		if u.count > 20+keptOn/10 || len(u.groups) > 6+keptOn/step {
			t.Errorf("%d entries in %d groups are remembered", u.count, len(u.groups))
		}
	})
}

func TestStore_clockSetBack(t *testing.T) {
	eachStore(t, func(t *testing.T, s ReplayStore, u *used) {
		id := testID(1)
		expires := testTime.Add(2 * time.Minute)
		use(t, s, id, expires, testTime, true)
		later := testTime.Add(time.Hour)
		use(t, s, testID(2), later.Add(2*time.Minute), later, true) // forgets the first
		// Back at the time of the first: it must not be taken for a fresh one.
		if fresh, err := s.Use(id, expires, testTime); fresh || !errors.Is(err, ErrClockBack) {
			t.Errorf("%v, %v, want ErrClockBack", fresh, err)
		}
		// A step back by less than what has been forgotten costs nothing.
		use(t, s, testID(3), later.Add(time.Minute), later.Add(-time.Minute), true)
		use(t, s, testID(2), later.Add(2*time.Minute), later.Add(-time.Minute), false)
	})
}

func TestStore_clockFarAheadForAWhile(t *testing.T) {
	eachStore(t, func(t *testing.T, s ReplayStore, u *used) {
		use(t, s, testID(1), testTime.Add(2*time.Minute), testTime, true)
		wrong := testTime.AddDate(10, 0, 0)
		use(t, s, testID(2), wrong.Add(2*time.Minute), wrong, true)
		// Only what was forgotten is in doubt, not the ten years.
		soon := testTime.Add(5 * time.Minute)
		use(t, s, testID(3), soon.Add(2*time.Minute), soon, true)
		use(t, s, testID(3), soon.Add(2*time.Minute), soon, false)
	})
}

// The memory tells by the expiry whether it has forgotten a token, so that must not depend on when it is verified.
func TestVerify_clockAheadAndBack(t *testing.T) {
	eachStore(t, func(t *testing.T, s ReplayStore, _ *used) {
		key := testKey(t)
		v := newVerifier(t, s, key)
		token := mint(t, key, alice, testTime, testNonce)
		check(t, v, token, alice, testTime.Add(-30*time.Second), true)
		ahead := testTime.Add(2*time.Minute + keptOn*time.Second) // long past the expiry
		check(t, v, mint(t, key, alice, ahead, testNonce), alice, ahead, true)
		for _, back := range []time.Duration{-30, 0, 30} {
			ok, err := v.Verify(token, alice, testTime.Add(back*time.Second))
			if ok || !errors.Is(err, ErrClockBack) {
				t.Errorf("back at %d s: %v, %v, want ErrClockBack", back, ok, err)
			}
		}
	})
}

// A step of two minutes, either way, for however long, leaves no token of any clock undecided, and none is good twice.
func TestVerify_clockStepped(t *testing.T) {
	for _, by := range []time.Duration{2 * time.Minute, -2 * time.Minute} {
		eachStore(t, func(t *testing.T, s ReplayStore, _ *used) {
			key := testKey(t)
			v := newVerifier(t, s, key)
			right, used := testTime, make(map[string]time.Time)
			for second := range 900 {
				now := right
				if second >= 300 && second < 600 {
					now = right.Add(by)
				}
				if second%5 == 0 {
					token := mint(t, key, alice, now, fmt.Sprintf("%032d", second))
					check(t, v, token, alice, now, true)
					used[token] = now
				}
				if second%37 == 0 {
					for token := range used {
						check(t, v, token, alice, now, false)
					}
				}
				right = right.Add(time.Second)
			}
		})
	}
}

func TestStore_full(t *testing.T) {
	eachStore(t, func(t *testing.T, s ReplayStore, u *used) {
		u.count = maxUsed
		if fresh, err := s.Use(testID(1), testTime.Add(time.Minute), testTime); fresh || !errors.Is(err, ErrFull) {
			t.Errorf("%v, %v, want ErrFull", fresh, err)
		}
		u.count = 0
		use(t, s, testID(1), testTime.Add(time.Minute), testTime, true)
	})
}

// T3: the original forgets used tokens when it is restarted.
func TestReplay_T3_survivesRestart(t *testing.T) {
	key := testKey(t)
	path := filepath.Join(t.TempDir(), "replay.db")
	token := mint(t, key, alice, testTime, testNonce)
	r := openReplay(t, path)
	check(t, newVerifier(t, r, key), token, alice, testTime, true)
	for range 3 {
		closeReplay(t, r)
		r = openReplay(t, path)
		check(t, newVerifier(t, r, key), token, alice, testTime.Add(20*time.Second), false)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, want mode 0600", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("files in the directory: %v, %v", left, err)
	}
}

// What was forgotten in memory leaves the file too, and is still known to have
// been forgotten after a restart.
func TestReplay_fileForgetsAndKnowsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replay.db")
	r := openReplay(t, path)
	now := testTime
	for i := range 100 {
		use(t, r, testID(i), now.Add(2*time.Minute), now, true)
		now = now.Add(time.Minute)
	}
	closeReplay(t, r)
	r = openReplay(t, path)
	if r.used.count > 4+keptOn/60 {
		t.Errorf("%d entries after a restart", r.used.count)
	}
	if fresh, err := r.Use(testID(0), testTime.Add(2*time.Minute), testTime); fresh || !errors.Is(err, ErrClockBack) {
		t.Errorf("%v, %v, want ErrClockBack", fresh, err)
	}
}

func TestReplay_useAfterClose(t *testing.T) {
	r := openReplay(t, filepath.Join(t.TempDir(), "replay.db"))
	use(t, r, testID(1), testTime.Add(time.Minute), testTime, true)
	closeReplay(t, r)
	closeReplay(t, r)
	for _, id := range []ID{testID(1), testID(2)} {
		if fresh, err := r.Use(id, testTime.Add(time.Minute), testTime); fresh || !errors.Is(err, ErrClosed) {
			t.Errorf("%v, %v, want ErrClosed", fresh, err)
		}
	}
}

func TestReplay_closeWhileLoginsWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replay.db")
	r := openReplay(t, path)
	var fresh sync.Map
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			ok, err := r.Use(testID(i), testTime.Add(time.Minute), testTime)
			if err != nil && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			if ok {
				fresh.Store(i, true)
			}
		})
	}
	closeReplay(t, r)
	wg.Wait()
	r = openReplay(t, path)
	fresh.Range(func(i, _ any) bool {
		use(t, r, testID(i.(int)), testTime.Add(time.Minute), testTime, false)
		return true
	})
}

func TestReplay_diskThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := &commit{done: make(chan struct{})}
		if err := c.wait(); !errors.Is(err, ErrSlow) || time.Since(start) != maxCommitWait {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestOpenReplay_lockedByAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replay.db")
	holder := openReplay(t, path) // flock keeps out the same process as well
	start := time.Now()
	r, err := OpenReplay(path)
	if r != nil || !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Fatalf("%v, want ErrLocked", err)
	}
	if d := time.Since(start); d > lockTimeout+20*time.Second {
		t.Errorf("took %v", d)
	}
	use(t, holder, testID(1), testTime.Add(time.Minute), testTime, true)
	closeReplay(t, holder)
	use(t, openReplay(t, path), testID(1), testTime.Add(time.Minute), testTime, false)
}

func TestOpenReplay_operatingSystemSaysNo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "missing", "replay.db"), filepath.Join(file, "replay.db"), dir} {
		r, err := OpenReplay(path)
		if r != nil || err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), filepath.Dir(path)) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// filled makes a file with n used tokens, one a commit, and returns its bytes.
func filled(t *testing.T, n int) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "replay.db")
	r := openReplay(t, path)
	for i := range n {
		use(t, r, testID(i), testTime.Add(time.Minute), testTime, true)
	}
	closeReplay(t, r)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOpenReplay_damagedFileIsRefusedAndLeftAlone(t *testing.T) {
	good := filled(t, 50)
	page := os.Getpagesize()
	overwrite := func(from, to int, b byte) []byte {
		data := append([]byte(nil), good...)
		for i := from; i < to; i++ {
			data[i] = b
		}
		return data
	}
	cases := map[string][]byte{
		"empty":                             {},
		"text":                              []byte("this is not a database\n"),
		"zeroes":                            make([]byte, len(good)),
		"no meta pages":                     overwrite(0, 2*page, 0xff),
		"only zeroes behind the meta pages": overwrite(2*page, len(good), 0),
		"only ones behind the meta pages":   overwrite(2*page, len(good), 0xff),
	}
	for _, size := range []int{1, 100, page, 2*page - 1, 2 * page, 2*page + 1, 3 * page} {
		cases[fmt.Sprintf("cut to %d bytes", size)] = good[:size]
	}
	if i := strings.Index(string(good), string(formatName)); i < 0 {
		t.Fatal("format name not found")
	}
	cases["other format"] = []byte(strings.ReplaceAll(string(good), string(formatName), "gatehouse replay 9"))
	id := testID(7)
	flipped := append([]byte(nil), good...)
	for i := 0; ; { // in every copy of the record
		n := strings.Index(string(flipped[i:]), string(id[:]))
		if n < 0 {
			break
		}
		flipped[i+n+31] ^= 1
		i += n + len(id)
	}
	cases["one bit of a record"] = flipped
	for name, data := range cases {
		path := filepath.Join(t.TempDir(), "replay.db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := OpenReplay(path)
		if r != nil {
			closeReplay(t, r)
		}
		if r != nil || !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move the file away") {
			t.Errorf("%s: %v, want ErrDamaged with the path and what to do", name, err)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != string(data) {
			t.Errorf("%s: the file was changed (%v)", name, err)
		}
		// It is not locked, so a second look says the same.
		if r, err := OpenReplay(path); r != nil || !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: second time: %v, want ErrDamaged", name, err)
		}
		// What the message advises works.
		if err := os.Rename(path, path+".old"); err != nil {
			t.Fatal(err)
		}
		use(t, openReplay(t, path), testID(1), testTime.Add(time.Minute), testTime, true)
	}
}

func TestOpenReplay_foreignDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replay.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := OpenReplay(path); r != nil || !errors.Is(err, ErrDamaged) {
		t.Errorf("%v, want ErrDamaged", err)
	}
}

func TestReplay_fileCutWhileInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replay.db")
	r := openReplay(t, path)
	for i := range 20 {
		use(t, r, testID(i), testTime.Add(time.Minute), testTime, true)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if fresh, err := r.Use(testID(100+i), testTime.Add(time.Minute), testTime); fresh || !errors.Is(err, ErrDamaged) {
			t.Fatalf("%v, %v, want ErrDamaged", fresh, err)
		}
	}
	closeReplay(t, r)
}

func TestReplay_state(t *testing.T) {
	r := openReplay(t, filepath.Join(t.TempDir(), "replay.db"))
	for i := range 3 {
		use(t, r, testID(i), testTime.Add(time.Minute), testTime, true)
	}
	if n, err := r.State(); n != 3 || err != nil {
		t.Errorf("%d, %v, want 3 tokens", n, err)
	}
	closeReplay(t, r)
}

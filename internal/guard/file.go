package guard

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"syscall"
	"time"
)

// ErrFile says that a file is none that a guard has saved, or not all of it.
var ErrFile = errors.New("not a file of the guard, or damaged")

// A file is, with big-endian numbers:
//
//	magic, the key
//	when it was saved, in Unix ms                           int64
//	how many counters, how many users                       uint32, uint32
//	a counter: address, user, kind, score as of then        uint64, uint64, uint64, float64
//	a user: hash, how many addresses                        uint64, byte
//	  an address: half of its hash, seconds since seen      uint32, uint32
//	SHA-256 of all before
const magic = "gatehouse guard 1\n"

const (
	headSize    = len(magic) + KeySize + 8 + 4 + 4
	counterSize = 8 + 8 + 8 + 8
	homeSize    = 4 + 4
	maxFile     = headSize + shards*perShard*counterSize + shards*knownPerShard*(9+knownAddresses*homeSize) + sha256.Size
)

// Changed says whether something was counted since Save that is worth to be kept.
func (g *Guard) Changed() bool {
	for i := range shards {
		s, k := &g.memory.shards[i], &g.memory.known.shards[i]
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		k.mu.Lock()
		changed = changed || k.changed
		k.mu.Unlock()
		if changed {
			return true
		}
	}
	return false
}

// Save writes what the guard knows to a file, of at most 12 MB and mode 0600, which is there whole or as it was before. It
// needs a name beside it, with ".new" behind. One goroutine may call it at a time.
func (g *Guard) Save(path string) (err error) {
	b := g.encode(time.Now())
	defer func() {
		if err != nil {
			g.memory.shards[0].mu.Lock()
			g.memory.shards[0].changed = true // it is still to be saved
			g.memory.shards[0].mu.Unlock()
		}
	}()
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a daemon that was killed
		return err
	}
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		_ = os.Remove(fresh)
	}
	return err
}

// encode has each shard locked for as long as it takes to copy it.
func (g *Guard) encode(at time.Time) []byte {
	b := append([]byte(magic), g.own.key[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(at.UnixMilli())) // #nosec G115 -- back again in decode
	sizes := len(b)
	b = append(b, make([]byte, 8)...)
	var counters, users uint32
	now, halfLife := g.memory.now(), g.settings.Load().HalfLife
	for i := range g.memory.shards {
		s := &g.memory.shards[i]
		s.mu.Lock()
		s.changed = false
		for k, c := range s.m {
			if score := c.faded(now, halfLife); score > 0 {
				counters++
				b = binary.BigEndian.AppendUint64(b, k.address)
				b = binary.BigEndian.AppendUint64(b, k.user)
				b = binary.BigEndian.AppendUint64(b, k.kind)
				b = binary.BigEndian.AppendUint64(b, math.Float64bits(score))
			}
		}
		s.mu.Unlock()
	}
	seconds := g.memory.known.now()
	for i := range g.memory.known.shards {
		s := &g.memory.known.shards[i]
		s.mu.Lock()
		s.changed, s.saved = false, seconds
		for user, h := range s.m {
			begin := len(b)
			b = append(binary.BigEndian.AppendUint64(b, user), 0)
			for j, a := range h.address {
				if a != 0 && fresh(h.seen[j], seconds) {
					b[begin+8]++
					b = binary.BigEndian.AppendUint32(b, a)
					b = binary.BigEndian.AppendUint32(b, seconds-h.seen[j])
				}
			}
			if b[begin+8] == 0 {
				b = b[:begin]
				continue
			}
			users++
		}
		s.mu.Unlock()
	}
	binary.BigEndian.PutUint32(b[sizes:], counters)
	binary.BigEndian.PutUint32(b[sizes+4:], users)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// Load has the guard know what another has saved, as it has faded since then by the clock on the wall: not at all if that
// was set back. It must be called before anything else is done with the guard. That there is no file is no error; the
// others are [ErrFile] and those of the operating system, and leave the guard empty.
func (g *Guard) Load(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would wait for a writer
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was read only
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular() || info.Size() > int64(maxFile):
		return fmt.Errorf("%s: %w", path, ErrFile)
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(maxFile)))
	if err != nil {
		return err
	}
	key, m, err := decode(b, time.Now(), g.settings.Load().HalfLife)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	g.own.key, g.memory = key, m
	return nil
}

// decode reads a file. It trusts nothing: the sum is there for a disk that fails.
func decode(b []byte, now time.Time, halfLife time.Duration) (secret [KeySize]byte, _ *Memory, _ error) {
	if len(b) < headSize+sha256.Size || !bytes.HasPrefix(b, []byte(magic)) {
		return secret, nil, ErrFile
	}
	b, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if sha256.Sum256(b) != [sha256.Size]byte(sum) {
		return secret, nil, ErrFile
	}
	m := NewMemory()
	r := reader{b: b[len(magic):]}
	copy(secret[:], r.next(KeySize))
	saved := time.UnixMilli(int64(r.uint64())) // #nosec G115 -- from encode
	down := max(now.Sub(saved), 0)
	counters, users := r.uint32(), r.uint32()
	for range counters {
		if !r.counter(m, down, halfLife) {
			return secret, nil, ErrFile
		}
	}
	for range users {
		if !r.user(m.known, down) {
			return secret, nil, ErrFile
		}
	}
	if r.short || len(r.b) > 0 {
		return secret, nil, ErrFile
	}
	return secret, m, nil
}

// reader takes numbers off a file. After its end they are 0.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) next(n int) []byte {
	if len(r.b) < n {
		r.b, r.short = nil, true
		return make([]byte, n)
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.next(8)) }

func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.next(4)) }

func (r *reader) counter(m *Memory, down, halfLife time.Duration) bool {
	k := key{r.uint64(), r.uint64(), r.uint64()}
	score := math.Float64frombits(r.uint64())
	if r.short || !(score >= negligible && score <= MaxScore) {
		return false
	}
	if score = fade(score, down, halfLife); score > 0 {
		s := m.shard(k)
		s.put(k, counter{score: score, at: m.now()}, false, m.now(), halfLife)
	}
	return true
}

func (r *reader) user(k *known, down time.Duration) bool {
	user, n := r.uint64(), int(r.next(1)[0])
	if r.short || n == 0 || n > knownAddresses {
		return false
	}
	var h homes
	kept := 0
	for range n {
		address, ago := r.uint32(), time.Duration(r.uint32())*time.Second
		if address == 0 {
			return false
		}
		if ago += down; ago >= 0 && ago <= knownFor {
			h.address[kept], h.seen[kept] = address, k.now()-uint32(ago/time.Second) // #nosec G115 -- 30 days at most
			kept++
		}
	}
	if s := &k.shards[user%shards]; kept > 0 && len(s.m) < knownPerShard {
		s.m[user] = h
	}
	return true
}

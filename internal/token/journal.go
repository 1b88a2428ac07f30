package token

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

var (
	// ErrLocked says that another process has the file open.
	ErrLocked = errors.New("replay memory is in use by another process")
	// ErrDamaged says that the file does not hold what was written to it.
	ErrDamaged = errors.New("replay memory is damaged")
)

// whatToDo goes with ErrDamaged. Two minutes are more than the 90 seconds for
// which a token can be used.
const whatToDo = "it says which tokens have been used: stop gatehouse, move the file away, wait two minutes until those tokens have expired, and start again"

func damaged(cause any) error { return fmt.Errorf("%w (%v): %s", ErrDamaged, cause, whatToDo) }

const lockTimeout = 2 * time.Second

// The file is a bbolt database with two buckets. In bucketUsed a key is the
// expiry of some IDs, then a number of its own, both 8 bytes big-endian, so that
// new records stand together and expired ones come first; the value is the IDs,
// then a CRC-32C over key and IDs. In bucketState, keyFormat holds formatName,
// keyRecords the number of records, so that a lost page does not go unnoticed,
// and keyForgotten the expiry of the newest records that were deleted; the
// numbers are 8 bytes big-endian.
var (
	bucketUsed   = []byte("used")
	bucketState  = []byte("state")
	keyFormat    = []byte("format")
	keyRecords   = []byte("records")
	keyForgotten = []byte("forgotten")
	formatName   = []byte("gatehouse replay 1")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// journal is the file behind a Replay. One goroutine uses it at a time.
type journal struct {
	path   string
	db     *bbolt.DB
	file   *os.File // of db
	failed bool     // db has panicked and may hold its own locks
}

// openJournal opens or makes the file and adds what it holds to u.
func openJournal(path string, u *used) (*journal, error) {
	if err := makeJournal(path); err != nil {
		return nil, fmt.Errorf("making replay memory: %w", err)
	}
	j := &journal{path: path}
	err := j.guard(func() error {
		if err := j.open(); err != nil {
			return err
		}
		return j.db.View(func(tx *bbolt.Tx) error { return load(tx, u) })
	})
	if err == nil {
		return j, nil
	}
	_ = j.close()
	return nil, fmt.Errorf("%s: %w", path, err)
}

// guard calls f and turns into an error what bbolt does about pages that make no
// sense: it panics, or it reads beyond the end of a file that was cut, which
// without SetPanicOnFault would end the program.
func (j *journal) guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			j.failed = true
			err = damaged(p)
		}
	}()
	return f()
}

func (j *journal) open() error {
	db, err := bbolt.Open(j.path, 0o600, &bbolt.Options{
		Timeout: lockTimeout,
		OpenFile: func(path string, flag int, mode os.FileMode) (*os.File, error) {
			// Not O_CREATE: an empty file would pass for one that forgot nothing.
			f, err := os.OpenFile(path, flag&^os.O_CREATE, mode)
			if err != nil {
				return nil, err
			}
			if info, err := f.Stat(); err != nil || info.Size() == 0 {
				_ = f.Close()
				return nil, errors.Join(err, damaged("empty file"))
			}
			j.file = f
			return f, nil
		},
	})
	var system syscall.Errno
	switch {
	case err == nil:
		j.db = db
		return nil
	case errors.Is(err, berrors.ErrTimeout):
		return ErrLocked
	case errors.As(err, &system), errors.Is(err, ErrDamaged):
		return err
	}
	return damaged(err)
}

// load adds all records to u.
func load(tx *bbolt.Tx, u *used) error {
	state, records := tx.Bucket(bucketState), tx.Bucket(bucketUsed)
	if state == nil || records == nil || string(state.Get(keyFormat)) != string(formatName) {
		return damaged("not a replay memory")
	}
	u.forgotten = number(state, keyForgotten)
	missing := number(state, keyRecords)
	err := records.ForEach(func(key, value []byte) error {
		ids, sum := value, uint32(0)
		if len(key) == 16 && len(value) >= 4 {
			ids, sum = value[:len(value)-4], binary.BigEndian.Uint32(value[len(value)-4:])
		}
		if len(key) != 16 || len(ids)%len(ID{}) != 0 || checksum(key, ids) != sum {
			return damaged("bad record")
		}
		for ; len(ids) > 0; ids = ids[len(ID{}):] {
			u.add(ID(ids[:len(ID{})]), int64(binary.BigEndian.Uint64(key)), nil) // #nosec G115 -- as write made it
		}
		missing--
		return nil
	})
	if err == nil && missing != 0 {
		return damaged("wrong number of records")
	}
	return err
}

// number reads a number of bucketState. One that is not there panics, which
// guard takes for damage as it does bbolt's own panics.
func number(state *bbolt.Bucket, key []byte) int64 {
	return int64(binary.BigEndian.Uint64(state.Get(key))) // #nosec G115 -- as putNumber made it
}

func putNumber(state *bbolt.Bucket, key []byte, n int64) error {
	return state.Put(key, binary.BigEndian.AppendUint64(nil, uint64(n))) // #nosec G115 -- number turns it back
}

func checksum(key, ids []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, ids)
}

// write adds ids, which are grouped by expiry, deletes what expires no later
// than forgotten, and returns when all of that is on disk. After an error it
// cannot be counted upon to be there, and write may be called again.
func (j *journal) write(ids map[int64][]ID, forgotten int64) error {
	if j.failed {
		return damaged("after an earlier fault")
	}
	return j.guard(func() error {
		return j.db.Update(func(tx *bbolt.Tx) error {
			state, records := tx.Bucket(bucketState), tx.Bucket(bucketUsed)
			if err := expire(state, records, forgotten); err != nil {
				return err
			}
			for expiry, group := range ids {
				n, err := records.NextSequence()
				if err != nil {
					return err
				}
				key := binary.BigEndian.AppendUint64(nil, uint64(expiry)) // #nosec G115 -- after 1970
				key = binary.BigEndian.AppendUint64(key, n)
				value := make([]byte, 0, len(group)*len(ID{})+4)
				for _, id := range group {
					value = append(value, id[:]...)
				}
				value = binary.BigEndian.AppendUint32(value, checksum(key, value))
				if err := records.Put(key, value); err != nil {
					return err
				}
			}
			return putNumber(state, keyRecords, number(state, keyRecords)+int64(len(ids)))
		})
	})
}

// expire deletes the records that expire no later than forgotten.
func expire(state, records *bbolt.Bucket, forgotten int64) error {
	if number(state, keyForgotten) >= forgotten {
		return nil
	}
	var expired [][]byte
	c := records.Cursor()
	// #nosec G115 -- as write made it
	for key, _ := c.First(); key != nil && int64(binary.BigEndian.Uint64(key)) <= forgotten; key, _ = c.Next() {
		expired = append(expired, key)
	}
	for _, key := range expired {
		if err := records.Delete(key); err != nil {
			return err
		}
	}
	if err := putNumber(state, keyRecords, number(state, keyRecords)-int64(len(expired))); err != nil {
		return err
	}
	return putNumber(state, keyForgotten, forgotten)
}

func (j *journal) close() error {
	switch {
	case j.failed && j.file != nil:
		// What bbolt would do first cannot be trusted to end. Closing alone does
		// not give the lock back, since the mapping stays.
		return errors.Join(syscall.Flock(int(j.file.Fd()), syscall.LOCK_UN), j.file.Close())
	case j.db != nil:
		return j.db.Close()
	}
	return nil
}

// makeJournal makes the file at path if there is none, all at once, so that what
// is found there later was whole at some time.
func makeJournal(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".replay-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err := f.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(f.Name(), 0o600, &bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucket(bucketUsed); err != nil {
			return err
		}
		state, err := tx.CreateBucket(bucketState)
		if err != nil {
			return err
		}
		if err := errors.Join(putNumber(state, keyRecords, 0), putNumber(state, keyForgotten, 0)); err != nil {
			return err
		}
		return state.Put(keyFormat, formatName)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	// A link and not a rename: another process may have made the file meanwhile.
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

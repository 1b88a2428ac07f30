package luaconf

import (
	"context"
	"errors"
	"runtime"
	"runtime/metrics"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// Bounds of one evaluation, included files and all. Debian's default config takes about 300 steps.
const (
	maxTime        = 2 * time.Second
	maxSteps       = 5_000_000 // Lua instructions, and their like inside of library functions
	maxStringBytes = 24 << 20  // of all strings made, garbage included
	maxStringLen   = 4 << 20
	maxHeapGrowth  = 40 << 20
	maxForcedGC    = 20
	maxArrayIndex  = 1 << 17
	checkEvery     = 64 // steps between looks at the clock and the heap
)

var (
	errTime    = errors.New("the config ran for more than 2 seconds; is there a loop that does not end?")
	errSteps   = errors.New("the config ran for more than 5 million steps; is there a loop that does not end?")
	errStrings = errors.New("the config makes more than 24 MiB of strings, or one above 4 MiB")
	errHeap    = errors.New("the config needs more than 40 MiB of memory")
)

func init() {
	// A table with one element at a large index is an array up to this index. It is a variable of the library, which
	// has no other place for it; nobody else in this program uses the library.
	lua.MaxArrayIndex = maxArrayIndex
}

// budget bounds a run. It is a context because gopher-lua calls Done before each instruction, which makes it the one
// hook that sees every step. Once a bound is passed, Done stays closed, so no pcall can go on.
//
// All its methods belong to the goroutine that runs the Lua state.
type budget struct {
	context.Context
	deadline time.Time
	limit    int // of steps
	steps    int
	strings  int
	heap     []metrics.Sample
	base     uint64
	gcs      int
	failed   error
	closed   chan struct{}
}

func newBudget() *budget {
	b := &budget{
		Context:  context.Background(),
		deadline: time.Now().Add(maxTime),
		limit:    maxSteps,
		heap:     []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}},
		closed:   make(chan struct{}),
	}
	close(b.closed)
	b.base = b.heapBytes()
	return b
}

// Done implements context.Context and counts a step.
func (b *budget) Done() <-chan struct{} {
	b.steps++
	if b.steps%checkEvery == 0 {
		b.check()
	}
	if b.failed != nil {
		return b.closed
	}
	return nil
}

// Err implements context.Context.
func (b *budget) Err() error { return b.failed }

func (b *budget) check() {
	switch {
	case b.failed != nil:
	case b.steps > b.limit:
		b.failed = errSteps
	case b.strings > maxStringBytes:
		b.failed = errStrings
	case time.Now().After(b.deadline):
		b.failed = errTime
	case b.heapGrowth() > maxHeapGrowth:
		// Garbage counts until it is collected, and other goroutines have theirs: look again after a collection.
		if b.gcs++; b.gcs <= maxForcedGC {
			runtime.GC()
		}
		if b.heapGrowth() > maxHeapGrowth {
			b.failed = errHeap
		}
	}
}

func (b *budget) heapBytes() uint64 {
	metrics.Read(b.heap)
	return b.heap[0].Value.Uint64()
}

func (b *budget) heapGrowth() uint64 {
	if now := b.heapBytes(); now > b.base {
		return now - b.base
	}
	return 0
}

// spend counts steps that a library function takes, and raises a Lua error when there are none left.
func (b *budget) spend(L *lua.LState, steps int) {
	b.steps += steps
	b.check()
	b.raise(L)
}

// makeString counts a string of n bytes before it is made, and raises a Lua error when it is too much.
func (b *budget) makeString(L *lua.LState, n int) {
	if n > maxStringLen || n < 0 {
		b.failed = errStrings
	} else {
		b.strings += n
		b.steps += n / 64
		b.check()
	}
	b.raise(L)
}

func (b *budget) raise(L *lua.LState) {
	if b.failed != nil {
		L.RaiseError("%s", b.failed.Error())
	}
}

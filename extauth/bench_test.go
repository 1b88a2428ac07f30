package extauth

import (
	"math"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkPool measures queries a second through a pool of one, and beside it, in alternating slices of the same run,
// a bare write and read with the same script over the same transport: no checks, no deadline, no pool. "ratio" is the
// pool's rate divided by the bare loop's.
func BenchmarkPool(b *testing.B) {
	for _, v := range []variant{{Generic, true, 1}, {Generic, false, 1}, {Ejabberd, false, 1}} {
		b.Run(v.String(), func(b *testing.B) {
			p := testBenchPool(b, v)
			bare := newBareWorker(b, v)
			frame := v.proto.appendQuery(nil, &query{verb: "auth", user: "alice", host: "example.org", password: "right", hasPassword: true})
			ask := func(n int) time.Duration {
				begun := time.Now()
				for range n {
					if yes, err := p.Auth(ctxBackground, "alice", "example.org", "right"); !yes || err != nil {
						b.Fatal(yes, err)
					}
				}
				return time.Since(begun)
			}
			loop := func(n int) time.Duration {
				begun := time.Now()
				for range n {
					bareAsk(b, bare, frame)
				}
				return time.Since(begun)
			}
			ask(100)
			loop(100)
			const slice = 50
			var pool, floor []time.Duration
			b.ReportAllocs()
			for n := b.N; n > 0; n -= slice {
				b.StopTimer()
				floor = append(floor, loop(slice))
				b.StartTimer()
				pool = append(pool, ask(slice))
			}
			// The median of many short slices, since other programs run beside the benchmark.
			slices.Sort(pool)
			slices.Sort(floor)
			each, bareEach := pool[len(pool)/2].Seconds()/slice, floor[len(floor)/2].Seconds()/slice
			b.ReportMetric(1/each, "queries/s")
			b.ReportMetric(1/bareEach, "bare/s")
			b.ReportMetric(bareEach/each, "ratio")
		})
	}
}

// BenchmarkPool_eightWorkers asks a script that takes 50 ms through eight workers from many clients; 160 a second are
// possible.
func BenchmarkPool_eightWorkers(b *testing.B) {
	cfg := testConfig(b, variant{Generic, true, 8}, "plain")
	cfg.Timeout, cfg.Queue = 10*time.Second, math.MaxInt32
	p := newTestPool(b, cfg)
	var wg sync.WaitGroup
	work := make(chan struct{})
	for range 16 {
		wg.Go(func() {
			for range work {
				if yes, err := p.Auth(ctxBackground, "fifty", "example.org", "right"); !yes || err != nil {
					b.Error(yes, err)
				}
			}
		})
	}
	for range 16 { // all workers are up
		work <- struct{}{}
	}
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/160, "ratio")
}

func testBenchPool(b *testing.B, v variant) *Pool {
	b.Helper()
	cfg := testConfig(b, v, "plain")
	cfg.Timeout = 5 * time.Second
	p := newTestPool(b, cfg)
	mustSay(b, p, "warm", "right", true)
	return p
}

// newBareWorker starts the same script as a pool's, with nothing around it.
func newBareWorker(b *testing.B, v variant) *transport {
	b.Helper()
	cfg := testConfig(b, v, "plain")
	io, child, err := openTransport(v.pty)
	if err != nil {
		b.Fatal(err)
	}
	started, stop, stopped := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		runtime.LockOSThread() // this thread's end would be the script's
		proc, err := startProcess(newSettings(cfg), &child)
		child.close()
		started <- err
		if err == nil {
			<-stop
			proc.kill()
			proc.wait()
		}
	}()
	if err := <-started; err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		close(stop)
		<-stopped
		io.close()
	})
	return io
}

func bareAsk(b *testing.B, io *transport, frame []byte) {
	var buf [64]byte
	if _, err := io.in.Write(frame); err != nil {
		b.Fatal(err)
	}
	if _, err := io.out.Read(buf[:]); err != nil && !os.IsTimeout(err) {
		b.Fatal(err)
	}
}

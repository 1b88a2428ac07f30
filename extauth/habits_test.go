package extauth

import (
	"context"
	"os/exec"
	"testing"
	"time"
)

// TestPool_habits runs scripts as people write them: some take what one read brings for a whole query, and many do not look
// for the end of their input, but answer it for ever, or wait for more.
func TestPool_habits(t *testing.T) {
	for name, test := range map[string]struct {
		proto   Protocol
		command []string
	}{
		"a line is what one read brings": {Generic, []string{"perl", "-e",
			`$| = 1; while (sysread STDIN, my $q, 4096) { print $q =~ /\A[^\n]*:right\n\z/ ? "1\n" : "0\n" }`}},
		"answers the end of its input for ever": {Generic, []string{"python3", "-c", `
import sys
while True:
    print(int(sys.stdin.readline().endswith(":right\n")), flush=True)`}},
		"a frame is what one read brings": {Ejabberd, []string{"perl", "-e",
			`$| = 1; while (sysread STDIN, my $q, 4096) { my ($n, $s) = unpack "na*", $q; print pack "nn", 2, $n == length $s && $s =~ /:right\z/ ? 1 : 0 }`}},
		"frames at the end of its input for ever": {Ejabberd, []string{"python3", "-c", `
import struct, sys
while True:
    size = sys.stdin.buffer.read(2)
    query = sys.stdin.buffer.read(struct.unpack(">H", size)[0]) if len(size) == 2 else b""
    sys.stdout.buffer.write(struct.pack(">HH", 2, query.endswith(b":right")))
    sys.stdout.flush()`}},
		"waits at the end of its input": {Ejabberd, []string{"python3", "-c", `
import struct, sys, time
while True:
    size = sys.stdin.buffer.read(2)
    if len(size) < 2:
        time.sleep(0.025)
        continue
    query = sys.stdin.buffer.read(struct.unpack(">H", size)[0])
    sys.stdout.buffer.write(struct.pack(">HH", 2, query.endswith(b":right")))
    sys.stdout.flush()`}},
	} {
		t.Run(name, func(t *testing.T) {
			path, err := exec.LookPath(test.command[0])
			if err != nil {
				t.Fatalf("%v; apt-get install %s", err, test.command[0])
			}
			p := newTestPool(t, Config{
				Command: append([]string{path}, test.command[1:]...), Protocol: test.proto, PTY: test.proto == Generic,
				Processes: 1, Queue: 9, Timeout: 5 * time.Second,
			})
			for range 3 {
				mustSay(t, p, "alice", "wrong", false)
				mustSay(t, p, "alice", "right", true)
			}
			ctx, cancel := context.WithTimeout(ctxBackground, 2*time.Second)
			defer cancel()
			if err := p.Close(ctx); err != nil {
				t.Errorf("it does not end with the pool: %v", err)
			}
		})
	}
}

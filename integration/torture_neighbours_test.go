package integration

import (
	"syscall"

	"gatehouse.im/gatehouse/internal/redistest"
)

// neighbourFaults are those of servers that gatehouse leans on.
func neighbourFaults() []fault {
	behindSpared := func(v *visit) bool { return v.door.host != relayHost }
	return []fault{
		{name: "Redis killed with SIGKILL, and started again", prepare: (*rig).shareState, spares: passwordsSpared, strikes: true, idle: 4,
			begin: redisFault(redistest.Killed)},
		{name: "Redis stopped with SIGSTOP", prepare: (*rig).shareState, spares: passwordsSpared, strikes: true, idle: 4,
			begin: redisFault(redistest.Paused)},
		{name: "Prosody behind killed with SIGKILL, and started again", prepare: (*rig).putBehind, spares: behindSpared, strikes: true,
			begin: func(r *rig) (end func()) {
				r.backend.kill()
				return func() { r.backend.start(r.t) }
			}},
		// For a short time they only have to wait.
		{name: "Prosody behind stopped with SIGSTOP", prepare: (*rig).putBehind, spares: behindSpared, strikes: tortured(),
			begin: func(r *rig) (end func()) {
				r.backend.signal(syscall.SIGSTOP)
				return func() { r.backend.signal(syscall.SIGCONT) }
			}},
	}
}

func redisFault(f redistest.Fault) func(*rig) (end func()) {
	return func(r *rig) (end func()) {
		f.Begin(r.t, r.redis)
		return func() { f.End(r.t, r.redis) }
	}
}

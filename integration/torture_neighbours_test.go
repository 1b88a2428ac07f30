package integration

import "syscall"

// neighbourFaults are those of servers that gatehouse leans on.
func neighbourFaults() []fault {
	behindSpared := func(v *visit) bool { return v.door.host != relayHost }
	return []fault{
		{name: "Redis killed with SIGKILL, and started again", prepare: (*rig).shareState, spares: passwordsSpared, strikes: true, idle: 4,
			begin: func(r *rig) (end func()) {
				r.redis.Kill()
				return func() { r.redis.Run(r.t) }
			}},
		{name: "Redis stopped with SIGSTOP", prepare: (*rig).shareState, spares: passwordsSpared, strikes: true, idle: 4,
			begin: func(r *rig) (end func()) {
				r.redis.Signal(r.t, syscall.SIGSTOP)
				return func() { r.redis.Signal(r.t, syscall.SIGCONT) }
			}},
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

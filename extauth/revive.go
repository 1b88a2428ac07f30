package extauth

import "time"

// revivePause is the time between two starts for [Pool.Revive].
const revivePause = time.Second

// Revive has a worker started if none is alive, although no query waits: so that a pool whose script could not be started
// for a while is found mended without a login. The usual back-off holds, and one start a second is the most. It does not
// wait; [Pool.Stats] tells what came of it.
func (p *Pool) Revive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.gen.live == 0 && now.Sub(p.revived) >= revivePause {
		p.revived = now
		p.gen.prestart = true
		p.wakeStarter()
	}
}

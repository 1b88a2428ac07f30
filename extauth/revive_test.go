package extauth

import (
	"os"
	"testing"
)

// Somebody who ends the script by a query does not leave a pool without one until the next login.
func TestPool_queryThatEndsTheScriptLeavesASuccessor(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		p := newTestPool(t, testConfig(t, v, "plain"))
		mustFail(t, p, "exit3", ErrDied)
		eventually(t, "a worker", func() bool { return p.Stats().Size == 1 })
	})
}

func TestPool_revive(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/broken", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t, variant{Generic, true, 1}, "plain")
	cfg.Env = append(cfg.Env, dirEnv+"="+dir)
	p := newTestPool(t, cfg)
	ended := func() bool { s := p.Stats(); return s.Size == 0 && s.Fault != nil }
	eventually(t, "the script has ended", ended)
	for range 1000 {
		p.Revive()
	}
	eventually(t, "the script has ended again", func() bool { return p.deathsInARow() == 2 && ended() })
	if err := os.Remove(dir + "/broken"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a worker", func() bool { p.Revive(); return p.Stats().Size == 1 })
	if n := p.deathsInARow(); n != 2 {
		t.Errorf("%d processes ended; Revive may start one a second", n)
	}
	mustSay(t, p, "alice", "right", true)
}

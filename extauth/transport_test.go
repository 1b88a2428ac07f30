package extauth

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestTransport_terminalIsOurs: what is written to a script's terminal is an answer, so nobody else may write there, whatever
// mode devpts gives to new terminals: on Debian it is 0620, with the group tty, in most containers 0600.
func TestTransport_terminalIsOurs(t *testing.T) {
	tr, child, err := openTransport(true)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	defer child.close()
	var st unix.Stat_t
	if err := unix.Fstat(child.fds[0], &st); err != nil {
		t.Fatal(err)
	}
	if st.Mode != unix.S_IFCHR|0o600 || int(st.Uid) != unix.Geteuid() {
		t.Errorf("mode %o of user %d", st.Mode, st.Uid)
	}
}

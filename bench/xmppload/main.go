package main

import (
	"fmt"
	"os"
	"syscall"
)

const usage = `usage: xmppload MODE [flags]     (xmppload MODE -h lists the flags)

  login    N logins by C workers (-fail: wrong password, expect not-authorized)
  storm    K sessions connect at once; time until all are bound
  slow     logins for a while, and meanwhile the ping latency of a logged-in session
  idle     hold N sessions; bytes per session
  relay    two sessions exchange messages; round trip, throughput, CPU per MB
  desync   does a late answer of the auth program get taken for another user's?
  floor    physical floor: bare Go TLS server, pipe round trip, canned login
  floor-server, floor-proxy   the servers that floor and the relay floor use
  gencert  write the benchmark's certificates
  token    print an X-TOKEN credential
  summary  medians of JSON result files, as a Markdown table
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	var rl syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &rl) == nil {
		want := uint64(200000)
		rl2 := syscall.Rlimit{Cur: want, Max: max(rl.Max, want)}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &rl2) != nil {
			rl.Cur = rl.Max
			syscall.Setrlimit(syscall.RLIMIT_NOFILE, &rl)
		}
	}
	cmds := map[string]func([]string) error{
		"login": cmdLogin, "storm": cmdStorm, "slow": cmdSlow, "idle": cmdIdle, "relay": cmdRelay,
		"desync": cmdDesync, "floor": cmdFloor, "floor-server": cmdFloorServer, "floor-proxy": cmdFloorProxy,
		"gencert": cmdGenCert, "token": cmdToken, "summary": cmdSummary,
	}
	f, ok := cmds[os.Args[1]]
	if !ok {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := f(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "xmppload:", err)
		os.Exit(1)
	}
}

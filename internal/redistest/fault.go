package redistest

import (
	"syscall"
	"testing"
)

// A Fault is something that goes wrong with a server, and how it ends. Both wait until it is so.
type Fault struct{ Begin, End func(testing.TB, *Server) }

// Faults that servers have.
var (
	Killed = Fault{
		func(_ testing.TB, s *Server) { s.Kill() },
		func(t testing.TB, s *Server) { s.Run(t) },
	}
	Paused = Fault{
		func(t testing.TB, s *Server) { s.Signal(t, syscall.SIGSTOP) },
		func(t testing.TB, s *Server) { s.Signal(t, syscall.SIGCONT) },
	}
	Replica = commands([]any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"})
	Full    = commands([]any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"})
)

// Forbidden is that rights are taken from the default user: "-eval".
func Forbidden(rights ...any) Fault {
	return commands(append([]any{"ACL", "SETUSER", "default"}, rights...), []any{"ACL", "SETUSER", "default", "+@all"})
}

func commands(begin, end []any) Fault {
	return Fault{
		func(t testing.TB, s *Server) { s.Do(t, begin...) },
		func(t testing.TB, s *Server) { s.Do(t, end...) },
	}
}

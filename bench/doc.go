// Command bench prints what gatehouse costs, beside the least that a Go program
// needs for the same bytes: see docs/benchmarks.md.
//
// It builds gatehouse, the load generator (xmppload) and its auth program into
// a temporary directory, starts real servers on free loopback ports, and
// measures them in turn, floor and gatehouse one after the other in each round,
// since machines have moods: a ratio of neighbours says more than any figure
// alone.
//
//	main.go    flags, and which parts run
//	rig.go     the temporary directory, and running the load generator
//	server.go  a gatehouse, or a floor server, as a process
//	spread.go  medians and ranges
//	table.go   rows, and how they are printed
//	login.go   (a) CPU of a login       (e) wrong answers
//	slow.go    (b) a slow script        query.go, bare.go  (b) queries
//	idle.go    (c) an idle session      token.go           (d) tokens
//	relay.go, relay_messages.go  (f) the relay, beside HAProxy and a bare proxy
//	relay_servers.go             these, and a Prosody behind each
//
// The exit code is 0 also where a target is missed, for that depends on the
// machine, and 1 where a wrong answer was given or a step failed.
package main

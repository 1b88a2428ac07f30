// Package integration tests the built program from outside: it builds cmd/gatehouse once, runs it as a process on free
// loopback ports with a config of each test's own, and talks to it as clients do. It has no product code.
//
//   - vectors_*_test.go replays the recordings of the original modules and compares what the program does with what is
//     right.
//   - clients_test.go logs in with XMPP clients that we did not write.
//   - scenario_*_test.go breaks scripts, disks, connections and the program itself.
//   - reload_*_test.go changes the config of a busy daemon, and has the tools for it; scenario_reload*_test.go does so by hand.
//   - relay_*_test.go puts a real Prosody behind the daemon, and breaks what is between them.
//   - websocket_*_test.go speaks RFC 7395, by a client of its own that can break its rules, and by libraries from npm.
//   - command_test.go runs the other commands.
//   - docs_*_test.go does what README.md and docs/ tell a reader to do.
//
// The directory testscript is the auth script of all of them. A process belongs to the test that started it, and the
// goroutine that reads its log ends with it. The programs that the tests need from Debian are installed by
// scripts/test-deps.sh; where one is missing, its tests fail and say so.
package integration

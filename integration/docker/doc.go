// Package docker tests the relay with real servers: gatehouse, Prosody and ejabberd, each in a container of its own, as
// compose.yaml has them. `make docker-test` runs it, as part of `make test`, with a Docker engine of its own where there is none.
//
//   - stack_test.go drives Docker by its command line: up, down, pause, kill, disconnect.
//   - hosts_test.go is the table: each server with each way in which gatehouse tells it who somebody is.
//   - login_test.go logs in; side_test.go does so side by side with a Prosody that checks passwords itself; session_test.go
//     uses what comes after, through the relay.
//   - outage_test.go takes the server behind away, before, during and after a login.
//   - upstream_test.go has two servers behind one host, and tells one where its clients are.
//   - direct_test.go logs in at the servers themselves.
//   - clients_test.go lets clients talk that we did not write; web_test.go does so with a web page, in a browser.
//
// It is a module of its own, so that the tests of the program need no Docker. The tests share one stack and run one after
// another, since some of them break it; each leaves it whole.
package docker

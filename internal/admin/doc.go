// Package admin shows a running daemon to the people who run it, over HTTP: numbers for Prometheus, a status page for a
// browser, and answers for health checks. One socket, which only the daemon's own user can open, also takes the order to
// reload.
//
// [Metrics] is what the daemon tells while it works: [Metrics.Login], [Metrics.Query], [Metrics.Handshake] and
// [Metrics.Reload] are called where the thing happens, cost some hundred nanoseconds and never block. It counts for
// Prometheus, and remembers for the page: logins per second of the last ten minutes, the last failures, the last
// reloads. All of that is bounded, whatever strangers send.
//
// A [Source] is what the daemon is asked for when somebody looks: hosts, pools, certificates, connections. Gauges are
// made from it at each scrape, so what a reload removed is gone from them; the series of such a host are dropped a second later.
//
// [Handler] serves both. Over TCP it answers only if the request names a loopback host: a web page elsewhere that had
// its own name resolve to 127.0.0.1 (DNS rebinding) gets nothing. What it shows holds user names and
// addresses of failed logins, but no password, token or other secret: nobody hands it one.
//
// The package starts no goroutine. It does not listen; the caller does, and gives [NewServer] the listener.
package admin

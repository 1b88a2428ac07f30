// Package httpserver makes the http.Server of the listeners that operators and servers behind reach: bounded in time, in
// the size of headers, and in connections. It has no goroutine of its own.
package httpserver

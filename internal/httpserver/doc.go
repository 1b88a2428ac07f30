// Package httpserver makes the http.Server of the listeners that operators and servers behind reach: bounded in time, in
// the size of headers, and in connections. Where strangers come as well, those for whom a handler calls [Keep] are not kept
// out by them. It has no goroutine of its own.
package httpserver

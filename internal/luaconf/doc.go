// Package luaconf runs a Prosody config file and says what it holds: host, option, value, and the line of each.
//
// A Prosody config is a Lua program, so the file is run, in gopher-lua, with the functions that Prosody's configmanager
// gives it (core/configmanager.lua of Prosody 0.12 and 13.0). The two dialects are read as one: options that were set
// can be read and appended to, and the Lua library is there both directly and as Lua.*.
//
// The file is not trusted to end, nor to stay small. Its text is bounded before it is parsed (scan.go), the syntax tree
// before it is compiled (rewrite.go), and the run by steps, time, bytes of string and growth of the heap (budget.go).
// gopher-lua has no limit of its own for strings and for the indices of tables, so the rewriting puts a call to ours in
// the place of each `..` and of each assignment to a computed index. Pattern matching, string formatting and files are
// our own (pattern.go, strings.go, format.go, files.go), for the same reason.
//
// What is missing on purpose: anything that changes the machine (os.execute, io.popen, writing files), loading code from
// strings, C modules, coroutines, the debug library. Using one is an error that names it and its line.
//
// Eval starts no goroutine and touches nothing but the files that the config names, which it reads.
package luaconf

// Package extauth asks an external process, the operator's own script, whether a login is good, within a deadline. It
// speaks the two protocols of Prosody's mod_auth_external, and answers yes (true, nil), no (false, nil) or cannot say
// (false, error). "Cannot say" is never turned into one of the other two.
//
// # One query
//
// A query is checked, then takes an idle worker or waits for one in a bounded queue. The worker's output is read
// without waiting: anything in it was not asked for, and the worker is killed. The query is written in one system
// call, and the answer is read in the caller's goroutine, with a deadline on the descriptor. A complete answer gives
// the worker back. Anything else (late, partial, unreadable, more than one answer, an answer to a query that is still
// unread in the pipe) kills it: the next thing it writes would be taken for the answer to somebody else's query.
//
// # Deadlines
//
// A query has one absolute deadline from its arrival: Config.Timeout or its context's, whichever is earlier. Waiting
// for a worker spends it, and whose is earliest gets the next one: those who came first, unless a context or a reload has
// cut a later one's time. One thing does not: the time that a new process takes from the moment its first query is
// written until it reads it, which is the start of the script and has Config.StartTimeout. So a script that reads its
// query and hangs is given up after Timeout, even in a new process, and one that needs ten seconds to load is not.
// Queries that wait while the first process of the pool is starting are not charged for that either: they have
// Timeout from the moment it is up. A context's deadline is never exceeded.
//
// # Processes
//
// The first worker is started by [NewPool] or [NewTriedPool], others when queries wait and less than Config.Processes are alive. Each
// has a session and process group of its own, standard input and output on a raw pseudo-terminal or on pipes, standard
// error on a pipe to the log, and no other descriptor. It ends with SIGTERM and half a second later SIGKILL to its
// group; what it leaves in the group when it ends by itself is killed too. If the daemon dies, however it does, the
// kernel kills the script; grandchildren then lose their terminal (SIGHUP) or their pipes. The death signal does not
// reach a script that changes its user (sudo), nor anything here a descendant that makes a session of its own.
//
// A process that ends without a single answer delays the next start: nothing the first time, then 100 ms, doubled up
// to 2 s; an answer resets this. A worker that has answered may end whenever it likes: one-shot scripts work, and their
// successor is started at once, and so is that of one that a query has ended. Who ended before its first query has no
// successor before the next one comes, or [Pool.Revive]. Auth and IsUser are tried once more if the worker ended before a byte of an answer.
//
// # Reload
//
// A pool stays the same through every reload of its host. [Pool.Prepare] checks a new Config, and if that asks for
// other processes, or a file of the command has changed, starts one and watches it for 150 ms; [Update.Apply] then
// makes the change in one moment, [Update.Discard] drops it. Limits and sizes change in place. Processes do not: those
// of the new kind are a new generation. From that moment all queries that have no worker yet go to it, those in the
// queue included; idle workers of the old one are ended, busy ones answer their query, within the deadline that it came
// with, and are ended then. What was learned about the old script (its speed, its faults, the back-off) is forgotten,
// and the new one has the grace of a pool's first start.
//
// Not every broken script is found: one that takes more than 150 ms to fail, or that hangs, takes over, and has to be
// mended as if it had been there from the beginning. While the last queries of the old generation are answered, the
// script runs in both versions, up to twice Config.Processes times, in "blocking" mode twice.
//
// # What cannot be told
//
// Neither protocol ties an answer to a query. A script that answers one query twice, the second time in the very
// moment after the next query was written and before it was read, cannot be told from one that answers quickly, if it
// has never done so within the last minute, has taken less than 5 ms to read, and is no slower than 20 ms on average;
// then the queries that wait behind that one may get each other's answers too, until the queue is empty or one is caught.
// In every other case it is caught: by the look before each query, by the check that a query was read before it was
// answered, and by listening for more where the order of reading and answering is in doubt and the script was slow to
// read, has misbehaved lately, or has answered sooner than is its way. It listens for at least 50 ms and for twice as
// long as the script takes, since one answer taken for another would shift those of all queries in the queue. On a
// terminal the check that a query was read ends with the life of the process. A new process that has said nothing
// unasked before and begins with exactly a yes, just before it reads, is believed if its true answer takes more than
// 50 ms.
//
// # Goroutines
//
//	goroutine                      started by   ends when                      waited for by
//	starter, one a pool            New...Pool   the pool is closed, all        Close
//	                                            workers are reaped
//	watcher, one a worker          starter      the process is reaped          starter
//	standard error, one a worker   watcher      the pipe ends, at most 50 ms   watcher
//	                                            after the process
//
// A query has none of its own. The starter keeps an operating system thread, since the death signal of a child
// depends on the thread that forked it, and each watcher occupies one while it waits for its process. All state of a
// pool is under one mutex; a worker's streams belong to the query that has it.
//
// The package runs on Linux. It prepares no strings (nodeprep, SASLprep) and caches no verdicts.
package extauth

package extauth

import "errors"

// The reasons why a query has no verdict. Every error of a [Pool]'s query methods wraps exactly one of them,
// unless the caller's context was cancelled first (then it wraps context.Canceled). None of them is a "no": a caller
// that turns one into "wrong password" makes clients forget good passwords.
var (
	// ErrTimeout: the deadline passed, in the queue or while the script was thinking. In the second case the
	// worker was killed, because its answer could still come.
	ErrTimeout = errors.New("timeout")
	// ErrBusy: every worker is busy and the queue is full.
	ErrBusy = errors.New("all workers are busy and the queue is full")
	// ErrBadReply: the script wrote something that is not one answer to the query. The worker was killed.
	ErrBadReply = errors.New("bad reply")
	// ErrQuery: the query cannot be written safely in the line formats. Nothing was sent.
	ErrQuery = errors.New("query refused")
	// ErrDied: the script ended, or closed its output, before it wrote a byte of an answer.
	ErrDied = errors.New("script ended without an answer")
	// ErrStart: the script could not be started at all.
	ErrStart = errors.New("script cannot be started")
	// ErrClosed: the pool is closed, or was closed before the answer came.
	ErrClosed = errors.New("pool is closed")
	// ErrConfig: a field of Config makes no sense. Only NewPool, Pool.Prepare and ParseProtocol return it.
	ErrConfig = errors.New("bad auth script configuration")
)

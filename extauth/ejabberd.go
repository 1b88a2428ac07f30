package extauth

// appendLength appends the 16-bit big-endian length that precedes a query of n bytes. n is at most maxQueryBytes.
func appendLength(b []byte, n int) []byte {
	return append(b, byte(n>>8), byte(n))
}

// decodeEjabberd reads 00 02 00 00 or 00 02 00 01. ejabberd itself treats every other two-byte answer as a "no"; here
// it is unreadable, so that an outage of the script's back end never looks like a wrong password.
func decodeEjabberd(b []byte) (r reply, yes bool) {
	const head = "\x00\x02\x00"
	n := min(len(b), len(head))
	if string(b[:n]) != head[:n] {
		return replyBad, false
	}
	switch {
	case len(b) <= len(head):
		return replyMore, false
	case b[len(head)] > 1:
		return replyBad, false
	case len(b) > len(head)+1:
		return replyMany, false
	}
	return replyDone, b[len(head)] == 1
}

package extauth

// decodeGeneric reads "0" or "1", then nothing, LF or CRLF. A second line end, a space, a NUL or anything else makes
// the whole thing unreadable: an answer that needs interpretation is no answer.
//
// COMPAT: "0" and a NUL is a no, as in the original, which cuts an answer at its first NUL: a script that writes its
// strings with their ends means it. "1" and a NUL is nothing (D8).
func decodeGeneric(b []byte) (r reply, yes bool) {
	if len(b) == 0 {
		return replyMore, false
	}
	if b[0] != '0' && b[0] != '1' {
		return replyBad, false
	}
	yes = b[0] == '1'
	switch string(b[1:]) {
	case "":
		return replyQuiet, yes
	case "\r":
		return replyMore, false
	case "\n", "\r\n":
		return replyDone, yes
	}
	if b[0] == '0' && b[1] == 0 {
		return replyNo, false
	}
	if b[1] == '\n' || len(b) > 2 && b[1] == '\r' && b[2] == '\n' {
		return replyMany, false
	}
	return replyBad, false
}

// owed is the line end that a script may still send after an answer that was taken without one. It carries no
// verdict, so it may come between queries or in front of the next answer; nothing else may.
type owed int

const (
	owesNothing owed = iota
	owesLineEnd      // LF or CRLF
	owesLF           // the CR came
)

// take removes the owed line end, or its beginning, from the front of b.
func (o owed) take(b []byte) ([]byte, owed) {
	if o == owesLineEnd && len(b) > 0 && b[0] == '\r' {
		if len(b) == 1 {
			return nil, owesLF
		}
		if b[1] == '\n' {
			return b[2:], owesNothing
		}
		return b, owesNothing
	}
	if o != owesNothing && len(b) > 0 && b[0] == '\n' {
		return b[1:], owesNothing
	}
	return b, o
}

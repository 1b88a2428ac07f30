package logging

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// journalSocket takes datagrams of the journal's native protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/.
const journalSocket = "/run/systemd/journal/socket"

// identifier is what the program calls itself there and in syslog.
const identifier = "gatehouse"

// encodeJournal is a datagram for the journal: a field a line. MESSAGE is the text of a line without time and level,
// which the journal keeps by itself, and each attribute is a field GATEHOUSE_<KEY>. No value has a line feed in it, so
// the protocol's binary form is never needed.
func encodeJournal(b []byte, r *record) []byte {
	b = append(b, "PRIORITY="...)
	b = append(b, priority(r.level))
	b = append(b, "\nSYSLOG_IDENTIFIER="+identifier+"\nMESSAGE="...)
	b = encodeBare(b, r)
	for _, f := range r.fields {
		b = append(b, '\n')
		b = appendFieldName(b, f.key)
		b = append(b, '=')
		b = appendFieldValue(b, valueString(f.value))
	}
	return append(b, '\n')
}

// appendFieldName appends the name of a field: upper-case letters, digits and underscores, at most 64 of them.
func appendFieldName(b []byte, key string) []byte {
	began := len(b)
	b = append(b, "GATEHOUSE_"...)
	for i := 0; i < len(key) && len(b)-began < 64; i++ {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z':
			b = append(b, c-'a'+'A')
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			b = append(b, c)
		default:
			b = append(b, '_')
		}
	}
	return b
}

// appendFieldValue appends a value as it is, so that it can be asked for; one that cannot be shown is quoted.
func appendFieldValue(b []byte, s string) []byte {
	if (s == "" || s[0] != '"') && allShown(s, &nothing) {
		return append(b, s...)
	}
	return appendQuoted(b, s, false)
}

// isJournal tells whether a file is the stream that systemd connected to the journal. JOURNAL_STREAM alone does not
// say so: it is inherited by processes whose standard error is another.
func isJournal(f *os.File) bool {
	var device, inode uint64
	if n, err := fmt.Sscanf(os.Getenv("JOURNAL_STREAM"), "%d:%d", &device, &inode); n != 2 || err != nil {
		return false
	}
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return err == nil && uint64(st.Dev) == device && st.Ino == inode
}

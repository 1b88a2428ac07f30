package logging

import (
	"os"
	"strconv"
)

// syslogSocket is where the local syslog listens, whoever plays it.
const syslogSocket = "/dev/log"

var pid = strconv.Itoa(os.Getpid())

// encodeSyslog is a datagram as syslog(3) sends it: RFC 3164 without a host name, facility daemon.
func encodeSyslog(b []byte, r *record) []byte {
	const daemon = 3
	b = append(b, '<')
	b = strconv.AppendInt(b, daemon<<3|int64(priority(r.level)-'0'), 10)
	b = append(b, '>')
	b = r.time.AppendFormat(b, "Jan _2 15:04:05")
	b = append(b, " "+identifier+"["...)
	b = append(b, pid...)
	b = append(b, "]: "...)
	return encodeBare(b, r)
}

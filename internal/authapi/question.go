package authapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"

	"gatehouse.im/gatehouse/saslmech"
)

// maxFieldsBytes bounds a query string and a body: three fields of at most 1023 bytes, each byte written as %XX, and their
// names.
const maxFieldsBytes = 10 << 10

// question is what is asked about whom.
type question struct{ user, host, password string }

// Why a request is no question. They hold nothing of it.
var (
	errTooLong  = errors.New("the fields are longer than 10240 bytes")
	errNotForm  = errors.New("the fields must be the body, as application/x-www-form-urlencoded")
	errBadForm  = errors.New("the fields are not application/x-www-form-urlencoded")
	errTwice    = errors.New("one of the fields user, server and pass is there twice")
	errMissing  = errors.New("the fields user and server must be there, and pass where there is a password")
	errBodyLost = errors.New("the body did not come")
)

// readQuestion reads the fields of a request from where its method has them. Those that it doesn't know are ignored.
func readQuestion(r *http.Request, needsPassword bool) (question, error) {
	text := r.URL.RawQuery
	if r.Method == http.MethodPost {
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || kind != "application/x-www-form-urlencoded" || text != "" {
			return question{}, errNotForm
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, maxFieldsBytes+1))
		if err != nil {
			return question{}, errBodyLost
		}
		text = string(body)
	}
	if len(text) > maxFieldsBytes {
		return question{}, errTooLong
	}
	fields, err := url.ParseQuery(text)
	if err != nil {
		return question{}, errBadForm
	}
	for _, name := range []string{"user", "server", "pass"} {
		if len(fields[name]) > 1 {
			return question{}, errTwice
		}
	}
	if !fields.Has("user") || !fields.Has("server") || needsPassword && !fields.Has("pass") {
		return question{}, errMissing
	}
	return question{fields.Get("user"), fields.Get("server"), fields.Get("pass")}, nil
}

// prepare makes of a question what a login would have made of it. It is false if no login could be so.
func (q *question) prepare(needsPassword bool) bool {
	user, err := saslmech.SASLprep(q.user)
	if err != nil {
		return false
	}
	if user, err = saslmech.Nodeprep(user); err != nil || user == "" {
		return false
	}
	host, err := saslmech.Nameprep(q.host)
	if err != nil || host == "" {
		return false
	}
	password, err := saslmech.SASLprep(q.password)
	// A password of which nothing is left is not the same as none: RemoveUser would go ahead without one.
	if err != nil || password == "" && (needsPassword || q.password != "") {
		return false
	}
	*q = question{user, host, password}
	return true
}

package credentials

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"

	"gatehouse.im/gatehouse/saslmech"
)

// maxBodyBytes bounds a body: two fields of at most 1023 bytes, each byte written as %XX, and room for others.
const maxBodyBytes = 10 << 10

// Why a request cannot be answered. They hold nothing of it.
var (
	errTooLong  = errors.New("the body is longer than 10240 bytes")
	errNotForm  = errors.New("the fields must be the body, as application/x-www-form-urlencoded")
	errMissing  = errors.New("the fields user and server must be there, each once: the part of the JID before the @, and that after it")
	errBodyLost = errors.New("the body did not come")
	errUser     = errors.New("user is not the part before the @ of any JID: it is empty, too long, or has characters that are not allowed there")
)

// readFields returns for whom a request wants a token, as it is written there. Fields that are not known are ignored.
func readFields(r *http.Request) (user, host string, err error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" || r.URL.RawQuery != "" {
		return "", "", errNotForm
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBodyBytes+1))
	switch {
	case err != nil:
		return "", "", errBodyLost
	case len(body) > maxBodyBytes:
		return "", "", errTooLong
	}
	fields, err := url.ParseQuery(string(body))
	if err != nil {
		return "", "", errNotForm
	}
	if len(fields["user"]) != 1 || len(fields["server"]) != 1 {
		return "", "", errMissing
	}
	return fields.Get("user"), fields.Get("server"), nil
}

// prepareUser makes of a name what a login would make of it; the error is errUser.
func prepareUser(name string) (string, error) {
	user, err := saslmech.SASLprep(name)
	if err != nil {
		return "", errUser
	}
	if user, err = saslmech.Nodeprep(user); err != nil || user == "" {
		return "", errUser
	}
	return user, nil
}

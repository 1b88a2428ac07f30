package webserver

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// allowOrigin says whether the page that asks may connect (RFC 6455 §10.2); the error is for the one who runs the page. A
// request without Origin comes from no page: a client that is no browser could write there what it likes.
//
// The same origin is the same host and port. The scheme is not compared: behind a proxy that ends TLS we do not know the one
// that the page was loaded with.
func (s *settings) allowOrigin(r *http.Request) error {
	origins := r.Header.Values("Origin")
	switch {
	case len(origins) == 0 || s.origins["*"]:
		return nil
	case len(origins) > 1:
		return errors.New("more than one Origin")
	}
	origin := normalOrigin(origins[0])
	if s.origins[origin] {
		return nil
	}
	scheme, host, _ := strings.Cut(origin, "://")
	if (scheme == "http" || scheme == "https") && host != "" && host == withoutDefaultPort(scheme, strings.ToLower(r.Host)) {
		return nil
	}
	return fmt.Errorf("pages of the origin %.200q may not connect to the host %.200q", origins[0], r.Host)
}

// normalOrigin writes an origin such that equal ones are equal strings: in lower case and without the port that its scheme
// has anyway (RFC 6454 §6.2). What has no host, as "null", is only put into lower case.
func normalOrigin(origin string) string {
	origin = strings.ToLower(strings.TrimSpace(origin))
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return origin
	}
	if u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return origin // no origin, and equal to none
	}
	return u.Scheme + "://" + withoutDefaultPort(u.Scheme, u.Host)
}

func withoutDefaultPort(scheme, host string) string {
	switch scheme {
	case "http":
		return strings.TrimSuffix(host, ":80")
	case "https":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}

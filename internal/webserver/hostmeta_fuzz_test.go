package webserver

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzHostMeta: whatever host a stranger asks for, both forms of the document are well-formed, say the same, and send nobody
// to another host than the one that was asked for.
func FuzzHostMeta(f *testing.F) {
	for _, seed := range []string{"", "a.example", "A.example:5281", "[2001:db8::1]:443", "a@b", "a/b", "a'><x>", `a"b`, "a\r\nb", "a%00", ":", "-", "::", "[", "a:b:c"} {
		f.Add(seed)
	}
	s := newSettings(Config{})
	f.Fuzz(func(t *testing.T, host string) {
		ask := func(asJSON bool) (code int, href string) {
			w := httptest.NewRecorder()
			s.serveHostMeta(w, &http.Request{Method: "GET", Host: host, RemoteAddr: "192.0.2.1:1", Header: http.Header{}}, asJSON)
			if w.Code != http.StatusOK {
				return w.Code, ""
			}
			var document struct {
				Links []link `json:"links" xml:"Link"`
			}
			unmarshal := xml.Unmarshal
			if asJSON {
				unmarshal = json.Unmarshal
			}
			if err := unmarshal(w.Body.Bytes(), &document); err != nil || len(document.Links) != 1 {
				t.Fatalf("%q: %v\n%s", host, err, w.Body)
			}
			return w.Code, document.Links[0].Href
		}
		code, href := ask(false)
		if jsonCode, jsonHref := ask(true); jsonCode != code || jsonHref != href {
			t.Fatalf("%q: %d %q, as JSON %d %q", host, code, href, jsonCode, jsonHref)
		}
		if u, err := url.Parse(href); code == http.StatusOK && err == nil && (u.Scheme != "ws" || u.User != nil || u.Host != strings.ToLower(host) || u.Path != s.Paths[0]) {
			t.Fatalf("%q became %q", host, href)
		}
	})
}

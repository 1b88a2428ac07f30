package webserver_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/internal/webserver"
)

// lines is a request of so many lines, the empty one at its end included.
func lines(n int) string {
	return "GET /ws HTTP/1.1\r\nHost: chat.example\r\n" + strings.Repeat("A: b\r\n", n-3) + "\r\n"
}

// sized is one of so many bytes.
func sized(n int) string {
	const begin, end = "GET /ws HTTP/1.1\r\nHost: chat.example\r\nCookie: ", "\r\n\r\n"
	return begin + strings.Repeat("c", n-len(begin+end)) + end
}

// Each request of a connection may have a header of 128 lines and of 8 KiB, and the one that has more is the last.
func TestServer_boundsHeaders(t *testing.T) {
	tests := []struct {
		name     string
		requests []string
		want     []int // status codes, 0 for a close without any; what is refused is closed
	}{
		{"as many lines as there may be", []string{lines(128), lines(128), lines(128)}, []int{200, 200, 200}},
		{"one line more", []string{lines(129)}, []int{400}},
		{"one line more in the second", []string{lines(128), lines(129)}, []int{200, 0}},
		{"lines without an end", []string{strings.TrimSuffix(lines(500), "\r\n")}, []int{400}},
		{"lines that are empty", []string{"GET /ws HTTP/1.1\r\n" + strings.Repeat("A:\n", 200)}, []int{400}},
		{"as many bytes as there may be", []string{sized(8 << 10), sized(8 << 10)}, []int{200, 200}},
		{"one byte more", []string{sized(8<<10 + 1)}, []int{431}},
	}
	eachWay(t, func(t *testing.T, secure bool) {
		s := serve(t, secure, webserver.Config{Accept: echo})
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				nc := s.connect(t)
				in := bufio.NewReader(nc)
				var got []int
				for _, request := range test.requests {
					if _, err := io.WriteString(nc, request); err != nil {
						t.Fatal(err)
					}
					resp, err := http.ReadResponse(in, nil)
					if errors.Is(err, io.ErrUnexpectedEOF) {
						got = append(got, 0)
						break
					}
					if err != nil {
						t.Fatalf("after %v: %v", got, err)
					}
					if _, err := io.Copy(io.Discard, resp.Body); err != nil {
						t.Error(err)
					}
					_ = resp.Body.Close()
					got = append(got, resp.StatusCode)
				}
				if fmt.Sprint(got) != fmt.Sprint(test.want) {
					t.Errorf("got %v, want %v", got, test.want)
				}
				if test.want[len(test.want)-1] == http.StatusOK {
					return
				}
				if n, err := in.Read(make([]byte, 1)); n > 0 || err == nil {
					t.Error("the connection goes on")
				}
			})
		}
		t.Run("lines of a message are none of a header", func(t *testing.T) {
			c := s.upgrade(t, strings.Repeat("A: b\r\n", 100), "")
			isEcho(t, c, strings.Repeat("a\n", 1000))
		})
	})
}

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"gatehouse.im/gatehouse/internal/authapi"
)

// apiClient asks the daemon's auth API over its unix socket, one question at a time, on a connection that it keeps. It
// isn't an http.Client: that one would put a question again whose answer got lost, and a ticket is good only once, so
// that the second answer would be a no.
type apiClient struct {
	socket  string
	timeout time.Duration // for a question and its answer
	conn    net.Conn      // nil if there is none, or its state is not known
	in      *bufio.Reader // of conn
}

// maxAnswerBytes bounds an answer's body; it is a word or a sentence.
const maxAnswerBytes = 200

// ask puts a question. Errors hold nothing of what is asked. The daemon prepares the names and checks them.
func (c *apiClient) ask(operation, user, host, password string) (bool, error) {
	fields := url.Values{"user": {user}, "server": {host}}
	if password != "" {
		fields.Set("pass", password)
	}
	deadline := time.Now().Add(c.timeout)
	kept := c.conn != nil
	req, err := c.send(operation, fields.Encode(), deadline)
	if err != nil && kept {
		// The daemon has closed the connection since the last question, and not read all of this one.
		req, err = c.send(operation, fields.Encode(), deadline)
	}
	if err != nil {
		return false, err
	}
	status, text, err := c.receive(req)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return false, fmt.Errorf("the daemon has not answered in %s", c.timeout)
	case err != nil:
		return false, fmt.Errorf("the daemon's answer: %w", err)
	case status == http.StatusOK && text == "true":
		return true, nil
	case status == http.StatusOK && text == "false":
		return false, nil
	}
	return false, fmt.Errorf("the daemon answers %d, %q", status, text)
}

// send writes a request. After an error there is no connection.
func (c *apiClient) send(operation, fields string, deadline time.Time) (*http.Request, error) {
	target, method, body := "http://gatehouse"+authapi.Prefix+operation, http.MethodPost, fields
	if operation == "check_password" || operation == "user_exists" {
		target, method, body = target+"?"+fields, http.MethodGet, ""
	}
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return nil, errors.New("the query makes no request") // the cause shows it
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if c.conn == nil {
		if c.conn, err = (&net.Dialer{Deadline: deadline}).Dial("unix", c.socket); err != nil {
			c.conn = nil
			return nil, err
		}
		c.in = bufio.NewReader(c.conn)
	}
	if err = c.conn.SetDeadline(deadline); err == nil {
		err = req.Write(c.conn)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return req, nil
}

// receive reads the answer to a request. The connection is kept if the answer was whole and nothing is behind it.
func (c *apiClient) receive(req *http.Request) (status int, text string, err error) {
	keep := false
	defer func() {
		if !keep {
			c.close()
		}
	}()
	resp, err := http.ReadResponse(c.in, req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err != nil {
		return 0, "", err
	}
	if len(body) > maxAnswerBytes {
		return 0, "", fmt.Errorf("status %d, and more than %d bytes", resp.StatusCode, maxAnswerBytes)
	}
	keep = !resp.Close && c.in.Buffered() == 0
	return resp.StatusCode, string(body), nil
}

func (c *apiClient) close() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing is lost with it
		c.conn = nil
	}
}
